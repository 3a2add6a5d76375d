"""Score responses with an exported reward model: onnxruntime and tokenizers only, torch is never imported.

The folder is what `engine.jobs.export_onnx` wrote: the trunk as `fp32.onnx`, `int8.onnx` or `fp16.onnx`, the
head beside it, configuration, tokeniser and chat template.  The score after every token of a response is the
head at that token; the last one, at the end-of-sequence token, is the score.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import ModelFilesError, NonFiniteError, UsageError
from engine.scoring.batches import batches, windows
from engine.scoring.cache import PassageCache
from engine.scoring.graph import PRECISIONS, Passage, Precision, TrunkSession, tokeniser_hash
from engine.scoring.head import RewardHead
from engine.steps import steps_in
from engine.text import Chat, ScoreTokens, Tokeniser

BATCH_TOKENS = 1024
"""Tokens in one run of the graph while scoring many, padding included; more are no quicker on a CPU."""
CUDA_BATCH_TOKENS = 8192

KEPT_BYTES = 96 * 2**20
"""Keys and values of prompts that are held at once while their responses are scored."""


@dataclass(frozen=True)
class Scored:
    """A response, scored."""

    score: float
    tokens: list[str]  # display strings, the last one the end-of-sequence token; may hold control characters
    token_scores: list[
        float
    ]  # the score after each of `tokens`, or of its step; the last, or least, is `score`
    prompt_score: float | None  # the head at the prompt's last token; None where it reads the response's mean
    cut: bool  # prompt and response were longer than `Scorer.max_tokens`
    uncertainty: float | None = None  # standard deviation of an ensemble's scores; None without an ensemble
    criteria: dict[str, float] = field(default_factory=dict)  # the score by every criterion
    by_step: bool = False  # of a process reward model: each token has the score of its step


class Scorer:
    """An open session with the cache of what it scored last.  Everything may be called from any thread."""

    def __init__(
        self,
        trunk: TrunkSession,
        head: RewardHead,
        tokeniser: Tokeniser,
        precision: Precision,
        max_tokens: int,
        cache: PassageCache,
    ) -> None:
        if head.layers != trunk.layers or head.weight.shape[1] != len(head.parts) * trunk.width:
            raise ModelFilesError(
                f"The head reads {head.weight.shape[1]} features of layers {_listed(head.layers)} and "
                f"{trunk.path} gives {trunk.width} of {_listed(trunk.layers)}; export the reward model again."
            )
        self._trunk = trunk
        self.head = head
        self.tokeniser = tokeniser
        self.precision: Precision = precision
        self.max_tokens = max_tokens
        self.cache = cache

    @classmethod
    def open(
        cls,
        onnx_folder: Path,
        precision: Precision = "int8",
        head: RewardHead | None = None,
        threads: int | None = None,
        max_tokens: int | None = None,
    ) -> Scorer:
        """Open the exported model of a precision, on CUDA where there is one (not int8), else on the CPU.

        `head` defaults to the one in the folder, `threads` to the cores that this process may use.  Raises
        ModelFilesError for files that are missing, broken or do not fit each other, UsageError for an unknown
        precision, NonFiniteError for a head that is not finite.
        """
        folder = Path(onnx_folder)
        if precision not in PRECISIONS:
            raise UsageError(f"“{precision}” is not a precision; choose one of {', '.join(PRECISIONS)}.")
        path = folder / f"{precision}.onnx"
        if not path.is_file():
            others = sorted(file.stem for file in folder.glob("*.onnx"))
            there = f"; there is {', '.join(others)}" if others else ""
            raise ModelFilesError(
                f"{folder} holds no {precision} model{there}; export the reward model first."
            )
        tokeniser = Tokeniser.from_folder(folder)
        _check_vocabulary(folder, tokeniser)
        trunk = TrunkSession(path, precision, threads)
        if trunk.tokeniser_hash not in ("", tokeniser_hash(folder)):
            raise ModelFilesError(
                f"The tokeniser in {folder} is not the one that the model was exported with; "
                "export the reward model again."
            )
        length = max_tokens or tokeniser.score_tokens
        return cls(trunk, head or RewardHead.load(folder), tokeniser, precision, length, PassageCache())

    def with_head(self, head: RewardHead) -> Scorer:
        """The same session and cache with another head on the trunk.

        Raises ModelFilesError when the head reads other layers than the graph gives.
        """
        return Scorer(self._trunk, head, self.tokeniser, self.precision, self.max_tokens, self.cache)

    @property
    def folder(self) -> Path:
        """The folder of the export that it reads."""
        return self._trunk.path.parent

    @property
    def backend(self) -> str:
        """As it is written beside a score: onnx-int8, onnx-fp16 or onnx-fp32."""
        return f"onnx-{self.precision}"

    @property
    def provider(self) -> str:
        """Where it runs, for a person: "CPU" or "CUDA"."""
        return self._trunk.provider

    def score(self, messages: Chat, responses: Sequence[str]) -> list[Scored]:
        """Score the responses to one prompt, in their order; an empty response is scored too.

        What was scored lately is not computed again: only tokens from the first changed one on are, and the
        prompt is shared.  Raises NonFiniteError when the model gives a score that is not a number.
        """
        results = []
        for response in responses:
            tokens = self.tokeniser.encode_for_score(messages, response, self.max_tokens)
            results.append(self._scored(tokens, self._features(tokens.ids)))
        return results

    def score_many(self, items: Sequence[tuple[Chat, str]]) -> list[Scored]:
        """Score any (prompt, response) pairs, prompts that several share once; the cache is left as it is.

        Prompts first, then the responses behind them, batches of similar length under a token budget.
        """
        encoded = [self.tokeniser.encode_for_score(chat, text, self.max_tokens) for chat, text in items]
        results: list[Scored | None] = [None] * len(encoded)
        for index, features_S_F in self._features_of(encoded):
            results[index] = self._scored(encoded[index], features_S_F)
        return [result for result in results if result is not None]

    def _features(self, ids: list[int]) -> np.ndarray:
        """Features of these tokens, [S, F], as many of them as possible from the cache."""
        cached = self.cache.best(ids)
        if cached is not None and cached[1] == len(ids):
            return cached[0].features[: len(ids)]
        before = self._trunk.nothing if cached is None else cached[0].until(cached[1])
        new = ids[len(before) :]
        passage = self._trunk.extend(before, new, keep=len(new) - 1)  # the last one ends the text
        self.cache.add(passage)
        return passage.features

    def _features_of(self, encoded: Sequence[ScoreTokens]) -> Iterator[tuple[int, np.ndarray]]:
        """Each index with features [S, F] of prompt and response, computed in batches."""
        users: dict[tuple[int, ...], list[int]] = {}
        for index, tokens in enumerate(encoded):
            users.setdefault(tuple(tokens.prompt), []).append(index)
        alone = [
            index for prompt, sharing in users.items() if len(sharing) == 1 or not prompt for index in sharing
        ]
        shared = {prompt: sharing for prompt, sharing in users.items() if len(sharing) > 1 and prompt}
        texts: list[tuple[Passage, Sequence[int]]]
        texts = [(self._trunk.nothing, encoded[index].ids) for index in alone]
        for place, passage in self._run(texts, keep=False):
            yield alone[place], passage.features
        prompts = list(shared)
        room = KEPT_BYTES // self._trunk.bytes_per_token
        for window in windows([len(prompt) for prompt in prompts], room):
            texts = [(self._trunk.nothing, prompts[n]) for n in window]
            pasts = [(window[place], past) for place, past in self._run(texts, keep=True)]
            behind = [(index, past) for n, past in pasts for index in shared[prompts[n]]]
            texts = [(past, encoded[index].response) for index, past in behind]
            for place, passage in self._run(texts, keep=False):
                yield behind[place][0], passage.features

    def _run(
        self, texts: Sequence[tuple[Passage, Sequence[int]]], keep: bool
    ) -> Iterator[tuple[int, Passage]]:
        """Each index with its past and the text behind it, computed in batches."""
        budget = BATCH_TOKENS if self.provider == "CPU" else CUDA_BATCH_TOKENS
        for batch in batches([len(ids) for _, ids in texts], [past.known for past, _ in texts], budget):
            pasts, rows = zip(*(texts[index] for index in batch), strict=True)
            yield from zip(batch, self._trunk.run(pasts, rows, self.tokeniser.pad_id, keep), strict=True)

    def _scored(self, tokens: ScoreTokens, features_S_F: np.ndarray) -> Scored:
        start, head = len(tokens.prompt), self.head
        pieces = self.tokeniser.pieces(tokens.response)
        read_T_F = head.response_features(features_S_F, start)
        scores_T_C = head.scores(read_T_F)
        if not np.isfinite(features_S_F).all() or not np.isfinite(scores_T_C).all():
            raise NonFiniteError(
                f"The reward model in {self.folder} gives scores that are not numbers; "
                "train and export it again."
            )
        prompt_score = None
        if start and head.parts == ("last",):
            prompt_score = float(head.scores(features_S_F[start - 1 : start])[0, 0])
        spread_1_C = head.spread(read_T_F[-1:])
        if head.steps is not None:
            scores_T_C = _by_step(scores_T_C, steps_in(pieces, head.steps).at)
        whole_C = scores_T_C[-1] if head.steps is None else scores_T_C.min(axis=0)
        return Scored(
            score=float(whole_C[0]),
            tokens=pieces,
            token_scores=scores_T_C[:, 0].tolist(),
            prompt_score=prompt_score,
            cut=tokens.was_cut,
            uncertainty=None if spread_1_C is None else float(spread_1_C[0, 0]),
            criteria=dict(zip(head.criteria, whole_C.tolist(), strict=True)),
            by_step=head.steps is not None,
        )


def _by_step(scores_T_C: np.ndarray, at: Sequence[int]) -> np.ndarray:
    """At every token the score at the end of its step, [T, C]."""
    lengths = np.diff([-1, *at])
    return np.repeat(scores_T_C[list(at)], lengths, axis=0)


def _check_vocabulary(folder: Path, tokeniser: Tokeniser) -> None:
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFilesError(f"{path} cannot be read ({error}); export the reward model again.") from error
    size = config.get("vocab_size")
    if isinstance(size, int) and tokeniser.vocab_size > size:
        raise ModelFilesError(
            f"The tokeniser in {folder} has {tokeniser.vocab_size} tokens and the model knows {size}; "
            "they do not belong together: export the reward model again."
        )


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))
