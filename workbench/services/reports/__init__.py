"""How good a reward model or a judge is, in figures and in words."""
