"""Whole files of comments: taken in, answered row by row, given back as JSON lines or CSV."""
