"""Losses and rewards as formulas with the current numbers in their terms."""
