"""What verdicts of several annotators say together: consensus, agreement, leaderboards.  Torch-free."""
