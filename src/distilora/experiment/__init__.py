"""Methods × seeds → runs."""
