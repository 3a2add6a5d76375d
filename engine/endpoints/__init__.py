"""Asking OpenAI-compatible endpoints over HTTP, only where the person has named one.  Torch-free."""
