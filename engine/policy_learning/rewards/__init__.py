"""What a policy's responses are worth: reward models, functions, verifiers, judges."""
