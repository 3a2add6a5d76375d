"""From a path to rows: the file, what its columns are, the first rows."""
