"""What a model scored, how sure that is, and what it must beat."""
