"""Runs on another machine, reached by SSH: a carrier here, an agent there, and what they say to each other.

The carrier stands where a worker stands: the workbench starts it, reads the same run directory and stops it
alike.  It takes what the run reads to the other machine, where an agent starts the worker, and brings back
the log, byte for byte, and whatever the log names.  Torch-free.
"""
