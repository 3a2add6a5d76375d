"""Experiments: a run file of methods, seeds and settings; its runs; what they came to, beside each other."""
