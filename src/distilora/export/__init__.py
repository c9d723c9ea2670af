"""Trained runs into verified bundles."""
