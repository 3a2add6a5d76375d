"""The report of a reward model."""
