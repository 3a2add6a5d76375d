"""Scores at the ends of steps, by a process reward model or by any other reward model.

Shapes: `N` responses, `S` steps of one response, `F` features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import NonFiniteError
from engine.models.features import FEATURE_TOKENS, batches_of_pairs, step_features
from engine.models.reward_model import RewardModel
from engine.models.trunk import Trunk
from engine.scoring.head import FeaturePart
from engine.steps import NEWLINE, step_ends, token_ends
from engine.text import Chat, ScoreTokens, Tokeniser


@dataclass(frozen=True)
class SteppedTokens:
    """A prompt and a response in tokens, and where the steps of the response end."""

    tokens: ScoreTokens
    ends: list[int]  # of each step, in characters of the text
    at: list[int]  # of each step the token of the response that it is scored at


def stepped(
    tokeniser: Tokeniser,
    messages: Chat,
    text: str,
    max_tokens: int,
    *,
    separator: str = NEWLINE,
    ends: Sequence[int] | None = None,
) -> SteppedTokens:
    """A response as it is scored by steps, cut at `separator` or where `ends` says, in characters.

    Only steps of which a cut response has something are there, one at least.  Raises UsageError for a prompt
    that cannot be encoded.
    """
    tokens = tokeniser.encode_for_score(messages, text, max_tokens)
    ends_in_text = list(step_ends(text, separator) if ends is None else ends)
    pieces = tokeniser.pieces(tokens.response)
    pieces[-1] = ""  # the token that ends the turn is no text
    at = token_ends(pieces, ends_in_text)
    if (
        ends is not None and ends_in_text and ends_in_text[-1] < len(text)
    ):  # the judged steps end before the text does
        at[-1] = token_ends(pieces, [ends_in_text[-1], len(text)])[0]
    reached = sum(map(len, pieces))
    read = sum(end < reached for end in ends_in_text[:-1]) + 1 if tokens.response_cut else len(ends_in_text)
    return SteppedTokens(tokens, ends_in_text[:read], [*at[:read]])


def features_at_steps(
    trunk: Trunk,
    texts: Sequence[SteppedTokens],
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
    budget: int = FEATURE_TOKENS,
) -> Iterator[tuple[int, Tensor]]:
    """Features at the steps of every response, batch by batch: its place and [S, F] on the CPU.

    Raises NonFiniteError when a state is not finite.
    """
    pairs = [(one.tokens.prompt, one.tokens.response) for one in texts]
    for rows, places in batches_of_pairs(pairs, budget):
        # a response without a prompt has lost its first token to it
        ends = [[max(at - (not pairs[n][0]), 0) for at in texts[n].at] for n in places]
        features = step_features(trunk, rows, layers, parts, ends)
        for place, features_S_F in zip(places, features, strict=True):
            if not torch.isfinite(features_S_F).all():
                raise NonFiniteError("The model gave hidden states that are not finite; use dtype float32.")
            yield place, features_S_F.cpu()


def step_scores(
    reward_model: RewardModel,
    texts: Sequence[SteppedTokens],
    *,
    criterion: int = 0,
    budget: int = FEATURE_TOKENS,
) -> list[Tensor]:
    """The score at each step's end, [S] float32 on the CPU, of every response in order."""
    scores: list[Tensor] = [torch.zeros(0)] * len(texts)
    device = reward_model.weight.device
    features = features_at_steps(reward_model.trunk, texts, reward_model.layers, reward_model.parts, budget)
    for place, features_S_F in features:
        scores[place] = reward_model.read(features_S_F.to(device))[0][:, criterion].cpu()
    return scores
