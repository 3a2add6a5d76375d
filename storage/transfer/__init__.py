"""Rows of a store as files, other stores, and back."""
