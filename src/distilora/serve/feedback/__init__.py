"""What people say of answers, kept in SQLite or PostgreSQL: the way from use back to training."""
