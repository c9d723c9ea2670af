"""distilora: which small text classifier should I ship, answered with evidence."""
