"""The SQL screen, a part a file."""
