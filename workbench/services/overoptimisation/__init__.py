"""Proxy and gold reward over the distance from the reference."""
