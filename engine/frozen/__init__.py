"""Reward heads on features of a frozen trunk, fitted without torch in seconds."""
