"""What the judgements of many say together."""
