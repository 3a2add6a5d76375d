"""Judging pairs of responses: the question, the judges, the verdict of both orders."""
