"""What scores and judgements say of models and annotators."""
