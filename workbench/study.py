"""A study from Python: the same services as the screens and the command line, in a notebook or a script.

    import workbench

    with workbench.open("study.duckdb") as study:
        study.import_file("prompts.jsonl")
        study.generate("smollm2", samples=4).wait()
        study.judge_by_rule("concise")
        study.train("reward", name="first").wait()
        study.sql("SELECT * FROM run_summary")

Nothing here imports torch: what is heavy runs in a process of its own, and a `Run` follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError, WorkbenchError
from workbench.services.workspace import Workspace
from workbench.settings import load_settings

if TYPE_CHECKING:
    import polars
    import pyarrow

    from engine.protocol.events import AnyEvent
    from storage.interchange.formats.writing import Exported
    from storage.interchange.importing import ImportReport
    from storage.records import PolicyRow, PromptRow, ResponseRow, RewardModelRow
    from workbench.services.reports.calibration import JudgeCalibration
    from workbench.services.runs.jobs import Jobs, RunDetail

Ranking = Sequence["str | Sequence[str]"]
"""Response ids from best to worst; ids in a list of their own share a rank."""


class RunFailedError(WorkbenchError):
    """A run that was waited for failed, or was stopped."""


@dataclass(frozen=True)
class Run:
    """A job that was started: it goes on when Python ends, and is found again by `Study.run`."""

    id: str
    _jobs: Jobs

    @property
    def status(self) -> str:
        """queued, running, done, stopped, paused or failed, as of now."""
        self._jobs.pump()
        return self.detail.status

    @property
    def detail(self) -> RunDetail:
        """Everything that is known of it: messages, artifacts, times, the reason of a failure."""
        return self._jobs.show(self.id)

    def wait(self, on_event: Callable[[AnyEvent], None] | None = None) -> Run:
        """Return when it is done; `on_event` hears what the job says meanwhile.

        Raises RunFailedError with the job's own reason when it ended otherwise.
        """
        row = self._jobs.wait(self.id, on_event)
        if row.status != "done":
            raise RunFailedError(f"{self.id} {_ended(row.status)}: {row.reason or 'no reason was told'}")
        return self

    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Values of each metric as (step, value), steps ascending."""
        return self._jobs.metrics(self.id)

    def stop(self) -> None:
        """Ask it to stop and keep what it has; asking again ends it at once."""
        self._jobs.stop(self.id)

    def resume(self) -> Run:
        """Go on from the last checkpoint."""
        self._jobs.resume(self.id)
        return self


class Study:
    """One store, and everything that can be done with it.  Use it as a context manager, or `close` it.

    While it is open no other process can open the file.  Names, settings and errors are those of the command
    line; every method raises `engine.errors.WorkbenchError` (or a class of its own) with one sentence.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        """The services, for what has no method here."""

    @classmethod
    def open(cls, path: Path | str | None = None, *, annotator: str | None = None) -> Study:
        """Open the store at `path`, making it when it does not exist; without a path the one of the settings.

        `":memory:"` is a store that ends with the process.  `annotator` is who `judge` judges as.
        Raises LockedError when another process holds the file.
        """
        settings = load_settings(db=None if path is None else str(path), annotator=annotator)
        return cls(Workspace.open(settings))

    def close(self) -> None:
        """Let the file go; runs go on."""
        self.workspace.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Prompts, responses, judgements

    def import_file(self, path: Path | str, **options: Any) -> ImportReport:
        """Import prompts, responses and judgements; the same file twice adds nothing.

        Options are those of `workbench import`.  Raises ImportFileError with the place in the file.
        """
        return self.workspace.library.import_file(path, **options)

    def export_data(
        self, what: str, path: Path | str, *, layout: str | None = None, **options: Any
    ) -> Exported:
        """Write a table, a view or `pairs` to a file; with `layout`, what another tool reads.

        Layouts are the formats of `workbench export data --as`; options are `anonymous` and `spreadsheet`.
        What a layout has no place for is counted in the answer.
        """
        library = self.workspace.library
        if layout is not None:
            return library.export_as(what, path, layout, **options)
        if options:
            raise UsageError(f"{', '.join(options)} can be said with a layout only.")
        from storage.interchange.formats.writing import Exported

        return Exported(library.export(what, path), {})

    def add_prompts(self, texts: Sequence[str], *, source: str = "python") -> list[str]:
        """Add prompts of one user turn each, unless they are there already; their ids, in order."""
        return self.workspace.library.add_prompts(list(texts), source=source)

    def prompts(self, search: str = "", *, limit: int = 500, offset: int = 0) -> list[PromptRow]:
        """Prompts whose text or source holds `search`, oldest first."""
        return self.workspace.library.prompts(search, limit=limit, offset=offset)

    def responses(self, prompt_id: str) -> list[ResponseRow]:
        """Every response to a prompt, with its mean rank and its scores."""
        return self.workspace.library.responses(prompt_id)

    def judge(self, prompt_id: str, ranking: Ranking, *, criterion: str = "overall", note: str = "") -> str:
        """Record a ranking of all responses that the rank screen would show; on disk on return.  Its id.

        `ranking` holds response ids from best to worst, ties in a list: `["r1", ["r2", "r3"]]`.
        """
        settings, judging = self.workspace.settings, self.workspace.judging
        item = judging.item(prompt_id, settings.annotator, criterion=criterion)
        if item is None:
            raise UsageError(f"The prompt {prompt_id} has fewer than two responses to rank.")
        ranks = _ranks(ranking)
        known = {candidate.response_id for candidate in item.responses}
        for response_id in ranks:
            if response_id not in known:
                raise UsageError(f"{response_id} is not a response to rank of the prompt {prompt_id}.")
        return judging.record(item, settings.annotator, ranks, seconds=None, note=note or None)

    def judge_by_rule(self, rule: str, *, criterion: str = "overall") -> int:
        """Let a rule (`workbench judge --help` lists them) rank every prompt; the number of judgements."""
        return self.workspace.judging.apply_rule(rule, criterion=criterion)

    def judge_by_model(self, **settings: Any) -> Run:
        """Start a model that judges pairs in both orders; settings are those of `workbench judge ai`."""
        return self._submit("judge", settings)

    def calibration(self, judge: str | None = None) -> list[JudgeCalibration]:
        """How far a model that judges, or each of them, agrees with people, by criterion."""
        calibrating = self.workspace.calibrating
        return calibrating.all() if judge is None else calibrating.of(judge)

    # Jobs

    def generate(self, policy: str, **settings: Any) -> Run:
        """Start sampling responses with a policy: a name of the store, a folder, a hub id or `smollm2`."""
        return self._submit("generate", {"policy": policy, **settings})

    def train(self, kind: str, *, name: str, **settings: Any) -> Run:
        """Start a training: `reward`, `ppo`, `grpo`, `rloo`, `online_dpo`, `nash_md`, `dpo`, `simpo`, `cpo`,
        `orpo`, `kto`, `sft` or `best_of_n`.

        Settings are those of the form, under the same names.  A reward model still needs `export`.
        Raises UsageError naming an unknown setting, with the near match.
        """
        return self._submit(kind, {"name": name, **settings})

    def export(self, reward_model: str, **settings: Any) -> Run:
        """Start the export of a reward model to ONNX, which `score` needs."""
        return self._submit("export", {"reward_model": reward_model, **settings})

    def run(self, run_id: str) -> Run:
        """A run by its id.  Raises NotFoundError with the near match."""
        self.workspace.jobs.show(run_id)
        return Run(run_id, self.workspace.jobs)

    def runs(self) -> list[Run]:
        """Every run, the newest first."""
        return [Run(row.run_id, self.workspace.jobs) for row in self.workspace.jobs.list()]

    def _submit(self, kind: str, settings: Mapping[str, Any]) -> Run:
        from engine.protocol.building import build
        from engine.protocol.catalog import find_job

        jobs = self.workspace.jobs
        return Run(jobs.submit(kind, build(find_job(kind).config, settings)), jobs)

    # Models and figures

    def policies(self) -> list[PolicyRow]:
        """Everything that responses came from."""
        return self.workspace.library.policies()

    def reward_models(self) -> list[RewardModelRow]:
        """Every reward model, with where it is exported to."""
        return self.workspace.library.reward_models()

    def score(
        self, reward_model: str, prompt: str, responses: Sequence[str], *, precision: str = "int8"
    ) -> list[float]:
        """Scores of responses to a one-turn prompt, by an exported reward model; nothing is stored."""
        scorer = self.workspace.scoring.scorer(reward_model, precision)
        return [scored.score for scored in scorer.score([{"role": "user", "content": prompt}], responses)]

    def arrow(self, query: str) -> pyarrow.Table:
        """All rows of the last statement's result; reading only.  Raises QueryError with DuckDB's words."""
        with self.workspace.sql.stream(query) as batches:
            import pyarrow

            return pyarrow.Table.from_batches(list(batches), batches.schema)

    def sql(self, query: str) -> polars.DataFrame:
        """`arrow` as a polars frame."""
        import polars

        frame = polars.from_arrow(self.arrow(query))
        assert isinstance(frame, polars.DataFrame)
        return frame


def _ended(status: str) -> str:
    return "has failed" if status == "failed" else f"was {status}"


def _ranks(ranking: Ranking) -> dict[str, int]:
    """1 for the best.  Raises UsageError for an id that comes twice."""
    ranks: dict[str, int] = {}
    for rank, group in enumerate(ranking, 1):
        for response_id in [group] if isinstance(group, str) else group:
            if response_id in ranks:
                raise UsageError(f"{response_id} comes twice in the ranking.")
            ranks[response_id] = rank
    return ranks
