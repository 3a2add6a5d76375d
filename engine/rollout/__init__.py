"""Generation: prompts read once, samples decoded together, log-probabilities kept."""

from engine.rollout.sampler import Batch, Sampled, response_text, sample

__all__ = ["Batch", "Sampled", "response_text", "sample"]
