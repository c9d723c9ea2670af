"""Bundles and trained runs on labelled data of any source, and on test suites."""
