"""Runs: the list, one of them, its tokens, its distance from the reference."""
