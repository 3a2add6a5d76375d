"""Programs that run in the environment of another library, for comparison."""
