"""The store of one process read by others."""
