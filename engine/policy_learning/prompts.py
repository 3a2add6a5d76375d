"""Prompts of a run of policy learning: which it learns from, which are held out, in what order they come."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq
import torch

from engine.errors import UsageError
from engine.left_out import LeftOutTexts, check_template, encode_or_leave_out, name_of
from engine.policy_learning.rewards.parts import Conversation
from engine.protocol.configs.needs import SCALE_PROMPTS, SCALE_SAMPLES
from engine.text import Chat, TemplateName, Tokeniser
from engine.training.checkpoint import seeded
from engine.training.split import heldout_prompts
from engine.wording import counted

REFERENCE_SAMPLES = SCALE_PROMPTS * SCALE_SAMPLES  # of the scale of scores: they tell the spread to about 8 %
REFERENCE_A_PROMPT = SCALE_SAMPLES
REFERENCE_KEY = "reference samples"


@dataclass(frozen=True)
class Prompt:
    """An input-only prompt."""

    prompt_id: str
    messages: Chat
    tokens: list[int]
    reference: str | None = None  # answer
    metadata: dict[str, Any] | None = None

    def conversation(self, text: str, token_ids: Sequence[int]) -> Conversation:
        """A response to it, as rewards read it."""
        return Conversation(self.messages, text, token_ids, self.reference, self.metadata)


@dataclass(frozen=True)
class Prompts:
    """The training prompts, and those that were left out."""

    train: list[Prompt]
    left_out: LeftOutTexts
    heldout: list[Prompt] = field(default_factory=list)  # not learned on

    def of_step(self, step: int, count: int, seed: int) -> list[Prompt]:
        """`count` distinct prompts of step `step` (from 0), each pass in a fresh order, its rest skipped."""
        count = min(count, len(self.train))
        steps_a_pass = len(self.train) // count
        passes, place = divmod(step, steps_a_pass)
        order = torch.randperm(len(self.train), generator=seeded("prompts", seed, passes)).tolist()
        return [self.train[i] for i in order[place * count : (place + 1) * count]]

    def instead(self, step: int, round_: int, count: int, seed: int, used: set[str]) -> list[Prompt]:
        """At most `count` prompts that the step has not had, in an order of the round."""
        order = torch.randperm(len(self.train), generator=seeded("instead", seed, step, round_)).tolist()
        return [self.train[i] for i in order if self.train[i].prompt_id not in used][:count]

    def of_reference(self, seed: int) -> tuple[list[Prompt], int]:
        """The prompts that the scale of scores is taken from, and how many samples of each."""
        chosen = self.of_step(0, math.ceil(REFERENCE_SAMPLES / REFERENCE_A_PROMPT), seed + 1)
        return chosen, math.ceil(REFERENCE_SAMPLES / len(chosen))


class PromptSettings(Protocol):
    """What a configuration says of prompts and of the responses to them."""

    @property
    def seed(self) -> int:
        """Decides which prompts are held out."""
        ...

    @property
    def template(self) -> TemplateName:
        """How a conversation is written as text."""
        ...

    @property
    def temperature(self) -> float:
        """Of sampling."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """Tokens of a response at most."""
        ...

    @property
    def max_prompt_tokens(self) -> int:
        """Tokens of a prompt at most."""
        ...

    def held_out(self) -> tuple[str, float]:
        """Which prompts are kept from learning, as `RewardedConfig.held_out` says it, and the share."""
        ...


def read_prompts(path: Path, tokeniser: Tokeniser, config: PromptSettings, positions: int | None) -> Prompts:
    """Read the `prompts` table; rows whose `split` is not 'train', or a share of all, are held out.

    A prompt that is too long, or that the chat template refuses, is left out.  Raises UsageError when no
    prompt is left to learn on, or none is held out where some should be.
    """
    check_template(tokeniser, config.template)
    longest, then = config.max_prompt_tokens, "raise max_prompt_tokens"
    if positions and positions - config.max_new_tokens < longest:
        longest = positions - config.max_new_tokens
        then = f"the model has {positions} positions: lower max_new_tokens"
    training: list[Prompt] = []
    heldout: list[Prompt] = []
    left_out = LeftOutTexts()
    for record in pq.read_table(path).to_pylist():
        messages = json.loads(record["messages"])
        tokens = encode_or_leave_out(tokeniser, messages, config.template, left_out)
        if tokens is not None and len(tokens) > longest:
            fault = f"it has {counted(len(tokens), 'token')}, {max(longest, 0)} are allowed; {then}."
            left_out.add("too long", name_of(messages), fault)
        elif tokens is not None:
            held = (record.get("split") or "train") != "train"
            (heldout if held else training).append(
                Prompt(record["prompt_id"], messages, tokens, record.get("reference"), _metadata(record))
            )
    if not training and not heldout:
        raise left_out.nothing_left("import some")
    wanted, share = config.held_out()
    if wanted == "share":
        out = heldout_prompts([p.prompt_id for p in training], holdout=share, seed=config.seed)
        heldout += [prompt for prompt in training if prompt.prompt_id in out]
        training = [prompt for prompt in training if prompt.prompt_id not in out]
    if not training:
        raise UsageError("Every prompt is held out; import more prompts, or hold out a share of them.")
    if wanted != "none" and not heldout:
        raise UsageError(
            "None of these prompts was held out by the reward model; set heldout_prompts to share, or none."
            if wanted == "reward_model"
            else "One prompt cannot be split; import more prompts, or set heldout_prompts to none."
        )
    return Prompts(training, left_out, heldout)


def _metadata(record: dict[str, Any]) -> dict[str, Any] | None:
    """The prompt's metadata; what is no object counts as none."""
    metadata = json.loads(record.get("metadata") or "null")
    return metadata if isinstance(metadata, dict) else None
