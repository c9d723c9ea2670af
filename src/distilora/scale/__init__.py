"""The same work on many processes of many machines, with Ray."""
