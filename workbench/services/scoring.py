"""Scores from exported reward models, in this process and without torch."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from engine.errors import UsageError
from engine.left_out import REFUSED, LeftOutTexts, name_of
from engine.protocol.suggest import did_you_mean
from storage import artifacts, prompts, responses, scores
from storage.records import NewScore, RewardModelRow
from storage.store import Store

if TYPE_CHECKING:
    from engine.scoring import Precision, Scored, Scorer
    from storage.interchange.reading import FileResponse

Chat = list[dict[str, str]]
Progress = Callable[[int, int], None]
PRECISIONS = ("int8", "fp16", "fp32")
PAGE_RESPONSES = 128
"""Responses scored and stored at a time; the scorer batches them by tokens."""


@dataclass(frozen=True)
class ScoredRow:
    """A response of a file with its score."""

    response_id: str
    prompt_id: str
    policy: str
    prompt: str
    """The last turn of the prompt."""
    response: str
    score: float
    cut: bool
    """Prompt and response were longer than the reward model reads."""


@dataclass
class ScoringNotes:
    """What happened on the way to the scores."""

    cut: int = 0
    """Responses that are longer than the reward model reads."""
    left_out: LeftOutTexts = field(default_factory=LeftOutTexts)
    """Prompts that the reward model cannot read."""


class Scoring:
    """Scorers of one store's reward models, each opened once.  Thread-safe."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._open: dict[tuple[str, str], Scorer] = {}
        self._opening = threading.Lock()

    def scorer(self, reward_model: str, precision: str = "int8") -> Scorer:
        """The scorer of a registered reward model.

        Raises `NotFoundError` for an unknown model, `UsageError` for one that was not exported to this
        precision.
        """
        from engine.scoring import Scorer

        row = artifacts.reward_model(self.store, reward_model)
        folder = _exported_folder(row, precision)
        key = (row.reward_model_id, precision)
        with self._opening:
            if key not in self._open:
                self._open[key] = Scorer.open(folder, cast("Precision", precision))
            return self._open[key]

    def score_store(
        self,
        reward_model: str,
        on_progress: Progress | None = None,
        *,
        precision: str = "int8",
        stop: Callable[[], bool] = lambda: False,
        notes: ScoringNotes | None = None,
    ) -> int:
        """Score every stored response that this model and precision have not scored; the number scored.

        Scores are written page by page, so that a stopped call goes on where it was; the responses to one
        prompt come together and share its computation.  `on_progress` hears (responses done, responses in
        all); `notes` learns what was cut and what left out.
        """
        notes = notes or ScoringNotes()
        scorer = self.scorer(reward_model, precision)
        model_id = artifacts.reward_model(self.store, reward_model).reward_model_id
        total = scores.count_unscored(self.store, model_id, scorer.backend)
        done, after = 0, ("", "")
        while not stop():
            page = scores.unscored(self.store, model_id, scorer.backend, after=after, limit=PAGE_RESPONSES)
            if not page:
                break
            items = [(json.loads(entry.messages), entry.text) for entry in page]
            ids = [entry.response_id for entry in page]
            scored = self._score(scorer, model_id, ids, items, notes)
            after = (page[-1].prompt_id, page[-1].response_id)
            done += sum(result is not None for result in scored)
            if on_progress is not None:
                on_progress(done, total)
        return done

    def score_prompts(self, reward_model: str, prompt_ids: Sequence[str], *, precision: str = "int8") -> int:
        """Score the responses to some prompts, those that have a score again; the number scored."""
        scorer = self.scorer(reward_model, precision)
        model_id = artifacts.reward_model(self.store, reward_model).reward_model_id
        done = 0
        for prompt_id in prompt_ids:
            rows = responses.of_prompt(self.store, prompt_id)
            messages = prompts.messages(self.store, prompt_id)
            items = [(messages, row.text) for row in rows]
            scored = self._score(scorer, model_id, [row.response_id for row in rows], items, ScoringNotes())
            done += sum(result is not None for result in scored)
        return done

    def score_file(
        self,
        path: Path | str,
        reward_model: str,
        *,
        precision: str = "int8",
        policy: str | None = None,
        kind: str = "auto",
        columns: Mapping[str, str] | None = None,
        on_progress: Progress | None = None,
        notes: ScoringNotes | None = None,
    ) -> list[ScoredRow]:
        """Import the responses of a file and score them; one row for each, in the order of the file.

        A prompt that the reward model cannot read is left out, and stands in `notes`.  Responses that are
        stored already are not stored again.  Raises `ImportFileError` with the place in the file,
        `UsageError` when it holds no responses, or none that can be scored.
        """
        from storage.interchange.importing import import_file
        from storage.interchange.reading import responses_in

        scorer = self.scorer(reward_model, precision)
        model_id = artifacts.reward_model(self.store, reward_model).reward_model_id
        file = Path(path)
        waiting = list(responses_in(file, shape=kind, columns=columns, policy=policy))
        if not waiting:
            raise UsageError(f"{file.name} holds no responses to score.")
        import_file(self.store, file, shape=kind, columns=columns, policy=policy)
        notes = notes or ScoringNotes()
        rows: list[ScoredRow] = []
        for start in range(0, len(waiting), PAGE_RESPONSES):
            page = waiting[start : start + PAGE_RESPONSES]
            ids = [entry.response_id for entry in page]
            items = [(entry.messages, entry.text) for entry in page]
            scored = self._score(scorer, model_id, ids, items, notes)
            rows += [_row(entry, result) for entry, result in zip(page, scored, strict=True) if result]
            if on_progress is not None:
                on_progress(min(start + PAGE_RESPONSES, len(waiting)), len(waiting))
        if not rows:
            raise notes.left_out.nothing_left("choose another file")
        return rows

    def _score(
        self,
        scorer: Scorer,
        model_id: str,
        ids: Sequence[str],
        items: Sequence[tuple[Chat, str]],
        notes: ScoringNotes,
    ) -> list[Scored | None]:
        """Score pairs of a prompt and a response, and store the scores in one transaction.

        None for a response whose prompt the model cannot read.
        """
        scored = scored_or_left_out(scorer, items, notes.left_out)
        rows = [
            row
            for response_id, result in zip(ids, scored, strict=True)
            if result is not None
            for row in _rows(response_id, model_id, result, scorer.backend)
        ]
        scores.upsert(self.store, rows)
        notes.cut += sum(result is not None and result.cut for result in scored)
        return scored

    def close(self) -> None:
        """Let the sessions go."""
        with self._opening:
            self._open.clear()


def scored_or_left_out(
    scorer: Scorer, items: Sequence[tuple[Chat, str]], left_out: LeftOutTexts
) -> list[Scored | None]:
    """Scores of prompts with responses; None where the prompt, then in `left_out`, cannot be read."""
    try:
        return [*scorer.score_many(items)]
    except UsageError:
        return _prompt_by_prompt(scorer, items, left_out)


def _prompt_by_prompt(
    scorer: Scorer, items: Sequence[tuple[Chat, str]], left_out: LeftOutTexts
) -> list[Scored | None]:
    """Scores where some prompt cannot be read; that one is left out."""
    places: dict[str, list[int]] = {}
    for place, (messages, _) in enumerate(items):
        places.setdefault(json.dumps(messages), []).append(place)
    scored: list[Scored | None] = [None] * len(items)
    for own in places.values():
        try:
            for place, result in zip(own, scorer.score_many([items[n] for n in own]), strict=True):
                scored[place] = result
        except UsageError as error:
            left_out.add(REFUSED, name_of(items[own[0]][0]), str(error))
    return scored


def _exported_folder(row: RewardModelRow, precision: str) -> Path:
    if precision not in PRECISIONS:
        raise UsageError(f"There is no precision “{precision}”. {did_you_mean(precision, PRECISIONS)}")
    if row.onnx_folder is None or precision not in row.precisions:
        raise UsageError(
            f"The reward model “{row.name}” has not been exported to {precision}; "
            f"run: workbench export onnx {row.name}."
        )
    return Path(row.onnx_folder)


def _rows(response_id: str, model_id: str, result: Scored, backend: str) -> list[NewScore]:
    """A row for each criterion; the ensemble's uncertainty belongs to the first."""
    by_criterion = result.criteria or {"overall": result.score}
    return [
        NewScore(
            response_id,
            model_id,
            score,
            backend,
            criterion=criterion,
            uncertainty=None if number else result.uncertainty,
            cut=result.cut,
        )
        for number, (criterion, score) in enumerate(by_criterion.items())
    ]


def _row(entry: FileResponse, result: Scored) -> ScoredRow:
    return ScoredRow(
        response_id=entry.response_id,
        prompt_id=entry.prompt_id,
        policy=entry.policy,
        prompt=entry.messages[-1]["content"] if entry.messages else "",
        response=entry.text,
        score=result.score,
        cut=result.cut,
    )
