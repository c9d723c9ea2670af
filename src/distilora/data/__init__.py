"""Where comments come from, what is wrong with them, how they are split, and how they become batches."""
