"""Reading runs that learn a policy: responses step by step, token traces, the run as a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.services.text_diff import Difference, word_diff

if TYPE_CHECKING:
    from storage.rollouts import StoredRollout, TokenTrace
    from storage.store import Store
    from workbench.services.formulas.losses import Formula
    from workbench.services.overoptimisation.ways import Way

Against = Literal["previous", "first", "nothing"]
SHOWN = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """One response of a step, and what an earlier step answered to the same prompt."""

    row: StoredRollout
    earlier: StoredRollout | None
    """The same sample index where there is one, else the first sample."""
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class Step:
    """The responses of one step."""

    run_id: str
    step: int
    against: Against
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything the loss saw of one response."""

    run_id: str
    step: int
    prompt_id: str
    sample_index: int
    prompt: str
    score: float | None
    tokens: tuple[TokenTrace, ...]


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run as a program reads it."""

    run_id: str
    kind: str
    name: str
    status: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    final_metrics: Mapping[str, float]
    formula: Formula | None
    overoptimisation: Way | None


class PolicyLearning:
    """What runs have sampled and learned.  Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def step(self, run_id: str, step: int, *, against: Against = "previous", limit: int = SHOWN) -> Step:
        """At most `limit` responses of a step, set beside those of an earlier step to the same prompts."""
        from storage import rollouts

        rows = rollouts.of_step(self._store, run_id, step, limit=limit)
        before: dict[tuple[str, int], StoredRollout] = {}
        if against != "nothing":
            for row in rollouts.earlier(self._store, run_id, step, first=against == "first"):
                before[row.prompt_id, row.sample_index] = row
                before.setdefault((row.prompt_id, -1), row)
        samples = []
        for row in rows:
            earlier = before.get((row.prompt_id, row.sample_index)) or before.get((row.prompt_id, -1))
            samples.append(Sample(row, earlier, word_diff(earlier.text, row.text) if earlier else None))
        return Step(run_id, step, against, tuple(samples))

    def trace_steps(self, run_id: str) -> Sequence[int]:
        """The steps with token traces, ascending."""
        from storage import rollouts

        return rollouts.trace_steps(self._store, run_id)

    def torn(self, run_id: str) -> Sequence[Path]:
        """Files of traces of the run that are damaged and were set aside."""
        from storage import runs
        from storage.file import traces

        return traces.torn_traces(Path(runs.run_row(self._store, run_id).run_dir or ""))

    def traced(self, run_id: str, step: int) -> Sequence[tuple[str, int]]:
        """(prompt_id, sample_index) of the traced responses of a step."""
        from storage import rollouts

        return rollouts.traced_responses(self._store, run_id, step)

    def trace(self, run_id: str, step: int, prompt_id: str, sample_index: int) -> Trace | None:
        """The tokens of one response; None when the step was not traced."""
        from storage import rollouts

        tokens = rollouts.trace(self._store, run_id, step, prompt_id, sample_index)
        if not tokens:
            return None
        rows = rollouts.of_step(self._store, run_id, step)
        rollout = next((r for r in rows if (r.prompt_id, r.sample_index) == (prompt_id, sample_index)), None)
        prompt = (rollout.prompt if rollout else None) or prompt_id
        score = rollout.score if rollout else None
        return Trace(run_id, step, prompt_id, sample_index, prompt, score, tuple(tokens))

    def report(self, run_id: str) -> RunReport:
        """Final figures, formula and fit of a run.  Raises NotFoundError when there is none."""
        from storage import rollouts, runs
        from workbench.services.formulas.losses import formula
        from workbench.services.overoptimisation.ways import way

        row = runs.run_row(self._store, run_id)
        metrics = runs.metrics(self._store, run_id)
        return RunReport(
            run_id=run_id,
            kind=row.kind,
            name=row.name,
            status=row.status,
            config=row.config,
            summary=row.summary,
            final_metrics={name: points[-1][1] for name, points in metrics.items()},
            formula=formula(row.kind, row.config, metrics),
            overoptimisation=way(run_id, row.name, rollouts.overoptimisation(self._store, run_id)),
        )
