"""Files of comments in, files with labels and probabilities out."""
