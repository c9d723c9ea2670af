"""Test suites: hard cases and identity terms, each from labels, probabilities and groups alone."""
