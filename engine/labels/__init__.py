"""What verdicts of several annotators say together: consensus, annotators, agreement.  Torch-free."""
