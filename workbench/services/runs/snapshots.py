"""What a run reads, written into its directory when its turn comes.

From then on the run depends on nothing that can change in the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from engine.errors import UsageError, WorkbenchError
from engine.files import PRIVATE_FOLDER, write_atomic
from engine.protocol.configs import JobConfig
from engine.protocol.configs.needs import (
    PairTable,
    PromptTable,
    QueueTable,
    RankingTable,
    ResponseTable,
    StepTable,
    Table,
)
from engine.protocol.rundir import Inputs, RunDir
from storage import artifacts, prompts
from storage.measures import judges
from storage.records import Snapshot
from storage.store import Store
from storage.transfer import snapshots
from workbench.services.runs.run_names import model_refs


class NothingToDoError(WorkbenchError):
    """The run is done before it begins."""


class PromptRequest(msgspec.Struct, frozen=True):
    """What was asked besides the configuration; `request.json` in the run directory."""

    prompt_ids: tuple[str, ...] | None = None  # only these prompts
    limit: int | None = None  # at most so many of them


def write_request(run: RunDir, request: PromptRequest) -> None:
    """Keep which prompts a run was asked for, until it starts and its snapshot is made."""
    write_atomic(run.path / "request.json", msgspec.json.encode(request) + b"\n")


def read_request(path: Path) -> PromptRequest:
    """The request of the run directory `path`; an empty one when the file is missing."""
    try:
        return msgspec.json.decode((path / "request.json").read_bytes(), type=PromptRequest)
    except (FileNotFoundError, msgspec.DecodeError):
        return PromptRequest()


def prepare(store: Store, run: RunDir, config: JobConfig) -> Inputs:
    """Write `inputs/*.parquet` and `inputs.json`, models first.

    Raises UsageError when a name has vanished or there is nothing to work on, NothingToDoError when all of it
    has been done before.
    """
    models = model_refs(store, config, run)
    folder = run.path / "inputs"
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    try:
        tables = _write_tables(store, folder, config, read_request(run.path))
    except OSError as error:
        raise WorkbenchError(f"The inputs of the run could not be written: {error}.") from error
    for table in tables.values():
        table.path.chmod(0o600)
    inputs = Inputs(
        models=models,
        tables={name: table.path.relative_to(run.path) for name, table in tables.items()}
        | _features(store, config),
        data_hash=_hash(tables),
    )
    run.write_inputs(inputs)
    return inputs


def follow_moved_models(store: Store, run: RunDir, config: JobConfig) -> None:
    """Name the models' folders anew in `inputs.json` of a run to resume, where a moved study took them along.

    Raises UsageError when a folder is gone and the store does not know another.
    """
    inputs = run.inputs
    folders = [Path(model.folder) for model in inputs.models.values()]
    if any(folder.is_absolute() and not folder.exists() for folder in folders):
        run.write_inputs(msgspec.structs.replace(inputs, models=model_refs(store, config, run)))


def _write_tables(
    store: Store, folder: Path, config: JobConfig, request: PromptRequest
) -> dict[str, Snapshot]:
    """The tables that the configuration says it reads, by name."""
    return {
        name: _write(store, folder / f"{name}.parquet", table, request)
        for name, table in config.inputs().tables.items()
    }


def _write(store: Store, path: Path, table: Table, request: PromptRequest) -> Snapshot:
    match table:
        case PromptTable():
            return _prompts(store, path, table, request)
        case RankingTable():
            return _rankings(store, path, table)
        case ResponseTable():
            return _responses(store, path, table, request)
        case StepTable():
            return _refuse_empty(
                snapshots.write_steps(
                    store, path, annotator=table.annotator, source=table.source, kinds=table.kinds
                ),
                "responses whose steps were judged" + (f" by “{table.annotator}”" if table.annotator else ""),
                "judge the steps of some, or import solutions with labels",
            )
        case QueueTable():
            return snapshots.write_queue(store, path, criterion=table.criterion, limit=table.limit)
        case PairTable():
            return _pairs(store, path, table, request)


def _prompts(store: Store, path: Path, table: PromptTable, request: PromptRequest) -> Snapshot:
    written = snapshots.write_prompts(
        store,
        path,
        source=table.source,
        prompt_ids=request.prompt_ids,
        limit=request.limit or table.limit,
        heldout_by=None if table.heldout_by is None else _runs_of(store, table.heldout_by),
    )
    return _refuse_empty(written, "prompts", "import some first")


def _runs_of(store: Store, reward_models: Iterable[str]) -> list[str]:
    """The runs that trained these reward models."""
    run_ids = [artifacts.reward_model(store, name).run_id for name in reward_models]
    return [run for run in run_ids if run is not None]


def _features(store: Store, config: JobConfig) -> dict[str, Path]:
    """What runs have made of the same model and is still there, as the tables `features`, `features_2`, …

    The newest come first; none holds the features of all responses, and only what a run lacks is computed.
    """
    policy = config.inputs().features_of
    if not policy:
        return {}
    folders = artifacts.listed(store, kind="features", name=policy)
    files = [Path(artifact.path) / "features.parquet" for artifact in folders]
    there = [file.absolute() for file in files if file.is_file()]
    return {"features" if n == 1 else f"features_{n}": file for n, file in enumerate(there, start=1)}


def refresh(store: Store, run: RunDir, config: JobConfig) -> None:
    """Write the judgements of a run's own responses anew, as they are when it goes on."""
    for name, table in config.inputs().tables.items():
        if isinstance(table, RankingTable) and table.of_run:
            written = _own_rankings(store, run.path / "inputs" / f"{name}.parquet", table)
            written.path.chmod(0o600)


def _own_rankings(store: Store, path: Path, table: RankingTable) -> Snapshot:
    """Judgements of the responses of the run whose inputs lie at `path`; there may be none yet."""
    run_id = path.parent.parent.name
    return snapshots.write_rankings(store, path, criteria=table.criteria, run_id=run_id, kinds=table.kinds)


def _rankings(store: Store, path: Path, table: RankingTable) -> Snapshot:
    if table.of_run:
        return _own_rankings(store, path, table)
    written = snapshots.write_rankings(
        store,
        path,
        criteria=table.criteria,
        annotator=table.annotator,
        source=table.source,
        kinds=table.kinds,
    )
    by = f" by “{table.annotator}”" if table.annotator else ""
    then = "rank some responses first"
    if written.rows == 0 and table.kinds is not None and "ai" not in table.kinds and not table.annotator:
        left = sum(row.judgements for row in judges.labels(store, table.criteria) if row.judge)
        by = f" but those of models ({left:,})" if left else ""
        then += ", or name ai among annotator_kinds" if left else ""
    return _refuse_empty(written, f"judgements of “{table.criterion}”{by}", then)


def _responses(store: Store, path: Path, table: ResponseTable, request: PromptRequest) -> Snapshot:
    scorer = table.unscored_by
    written = snapshots.write_responses(
        store,
        path,
        policy=table.policy,
        source=table.source,
        unscored_by=artifacts.reward_model(store, scorer).reward_model_id if scorer else "",
        backend=table.backend,
        limit=table.sample or request.limit or 0,
        shuffle=bool(table.sample),
    )
    if scorer and written.rows == 0 and prompts.overview(store).responses > 0:
        raise NothingToDoError(f"Every response has its score of “{scorer}” already.")
    if table.verifies and artifacts.is_registered(store, table.verifies):
        return written  # the job brings texts to verify it on
    of = f" of “{table.policy}”" if table.policy else ""
    return _refuse_empty(written, f"responses{of}", "generate or import some first")


def _pairs(store: Store, path: Path, table: PairTable, request: PromptRequest) -> Snapshot:
    written = snapshots.write_pairs(
        store,
        path,
        source=table.source,
        prompt_ids=request.prompt_ids,
        limit=request.limit or table.limit,
        pairs_a_prompt=table.pairs_a_prompt,
        seed=table.seed,
        judged_by_people=table.judged_by_people,
        annotator=table.annotator,
        experiment=table.experiment,
    )
    if table.experiment:
        return written  # arms may answer alike, so that nothing is left to judge
    if table.judged_by_people:
        return _refuse_empty(written, "pairs that people have judged", "rank some responses first")
    return _refuse_empty(written, "pairs of responses", "generate or import two or more to a prompt")


def _refuse_empty(table: Snapshot, what: str, then: str) -> Snapshot:
    if table.rows == 0:
        raise UsageError(f"There are no {what} to work on; {then}.")
    return table


def _hash(tables: dict[str, Snapshot]) -> str:
    """SHA-256 over the hashes of the files, by table name; of a single file its own."""
    hashes = [tables[name].sha256 for name in sorted(tables)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
