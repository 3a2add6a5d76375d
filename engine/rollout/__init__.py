"""Generation: prompts read once, samples decoded together, log-probabilities kept."""

from engine.rollout.cpu import why_not_cpu_decoder
from engine.rollout.mixture import Mixture
from engine.rollout.records import Decoded, Sampled, SampledBatch
from engine.rollout.sampler import response_text, sample, sample_steps
from engine.rollout.server import Server

__all__ = [
    "Decoded",
    "Mixture",
    "Sampled",
    "SampledBatch",
    "Server",
    "response_text",
    "sample",
    "sample_steps",
    "why_not_cpu_decoder",
]
