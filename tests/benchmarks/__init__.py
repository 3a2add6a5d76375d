"""Speed, measured: `python -m tests.benchmarks.NAME [--peer PYTHON]` prints one JSON line."""
