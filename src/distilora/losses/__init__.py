"""What a run minimises: loss terms, each a pure function, and their weighted sum."""
