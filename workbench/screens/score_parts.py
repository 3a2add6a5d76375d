"""What the score screen asks, and what it makes of the answer; nothing here draws."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual.content import Content

if TYPE_CHECKING:
    from engine.scoring import Scored
    from storage.records import RewardModelRow
    from workbench.services.workspace import Workspace

EDITORS = ("prompt", "text-a", "text-b")


@dataclass(frozen=True)
class ScoreRequest:
    """What is to be scored; a newer one makes it worthless."""

    reward_model: str
    precision: str
    messages: tuple[tuple[str, str], ...]
    """(role, content) of each turn of the prompt."""
    responses: tuple[str, str]
    refit: int = 0
    """Number of the live model's fit whose head scores; 0: the reward model's own."""


@dataclass(frozen=True)
class ScoredPair:
    """Scores of a request and how they came about."""

    request: ScoreRequest
    scored: Sequence[Scored]
    """One a response."""
    provider: str
    milliseconds: float


def preference(first: float, second: float) -> float:
    """σ(first − second): the chance that the first response is preferred (Bradley and Terry, 1952)."""
    difference = first - second
    if difference >= 0:
        return 1 / (1 + math.exp(-difference))
    return math.exp(difference) / (1 + math.exp(difference))


def score_now(workspace: Workspace, request: ScoreRequest) -> ScoredPair:
    """Open the scorer (slow the first time) and score; called in a thread."""
    if request.refit:
        scorer = workspace.live.scorer(workspace.scoring, request.reward_model, request.precision)
    else:
        scorer = workspace.scoring.scorer(request.reward_model, request.precision)
    messages = [{"role": role, "content": content} for role, content in request.messages]
    begun = time.perf_counter()
    scored = scorer.score(messages, list(request.responses))
    return ScoredPair(request, scored, scorer.provider, (time.perf_counter() - begun) * 1000)


@dataclass(frozen=True)
class StoredPair:
    """A prompt of the store with two responses, as the editors show it.

    An editor may show a text a little differently (control characters, line ends).  As long as it has not
    been touched, the stored text is what is scored, so that the score shown is the stored one.
    """

    turns: tuple[tuple[str, str], ...] = ()
    """(role, content) of the turns before the last."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """By editor: the last turn and the responses, as stored."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """By editor: what it showed when the example had been put there."""

    def read(self, texts: Mapping[str, str]) -> tuple[tuple[tuple[str, str], ...], tuple[str, str]]:
        """The turns of the prompt, and the responses, when the editors hold `texts`."""
        prompt, first, second = (
            self.texts[name] if name in self.shown and texts[name] == self.shown[name] else texts[name]
            for name in EDITORS
        )
        return (*self.turns, ("user", prompt)), (first, second)


def example(workspace: Workspace, number: int) -> StoredPair | None:
    """Prompt `number` (round the end) with two responses; None when the store has no such prompt."""
    count = workspace.library.count()
    for offset in range(min(count, 50)):
        row = workspace.library.prompts(limit=1, offset=(number + offset) % count)[0]
        if row.responses >= 2:
            first, second = workspace.library.responses(row.prompt_id)[:2]
            *before, last = workspace.library.messages(row.prompt_id)
            return StoredPair(
                turns=tuple((turn["role"], turn["content"]) for turn in before),
                texts=dict(zip(EDITORS, (last["content"], first.text, second.text), strict=True)),
            )
    return None


def known_models(workspace: Workspace) -> tuple[list[RewardModelRow], list[RewardModelRow]]:
    """Every reward model, and those exported whose trunk the live head reads."""
    models = list(workspace.library.reward_models())
    return models, [model for model in models if model.onnx_folder and workspace.live.fits(model)]


def verdict(first: float, second: float) -> Content:
    """One line: which response is preferred, with what probability, by what difference."""
    chance = preference(first, second)
    if abs(first - second) < 5e-4:
        return Content.assemble(("A and B score alike", "bold"), ("  P 0.50", "$foreground-muted"))
    better, probability = ("A", chance) if chance > 0.5 else ("B", 1 - chance)
    return Content.assemble(
        (f"{better} is preferred", "bold $text-primary"),
        f"  P {probability:.2f}",
        (f"  by {abs(first - second):.3f}", "$foreground-muted"),
    )
