"""The rank screen, a part a file."""
