"""What comes next for an annotator, the judgement in the making, and its record."""
