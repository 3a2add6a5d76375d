"""Load, save, heads, adapters; hub, GGUF and folder loading."""
