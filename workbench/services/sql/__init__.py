"""The researcher's own SQL: queries, completion, results of any size, charts."""
