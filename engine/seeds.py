"""Seeds of single prompts, so that the order of prompts and an interruption change nothing.  Torch-free."""

from __future__ import annotations

import hashlib


def seed_of(seed: int, prompt_id: str) -> int:
    """The seed of one prompt: 62 bits of a hash of the job's seed and the prompt."""
    digest = hashlib.blake2b(f"{seed}:{prompt_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2
