"""The search for better settings of a method: the same number of trials for each, judged on validation rows alone."""
