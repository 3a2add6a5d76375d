"""A look at all that a store consists of, and what of it can go."""
