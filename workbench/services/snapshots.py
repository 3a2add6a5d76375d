"""What a run reads, written into its directory when its turn comes.

From then on the run depends on nothing that can change in the store.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from engine.errors import UsageError, WorkbenchError
from engine.files import PRIVATE_FOLDER, write_atomic
from engine.protocol.configs import (
    BestOfNConfig,
    ExportConfig,
    GenerateConfig,
    JobConfig,
    PolicyLearningConfig,
    RewardConfig,
    RewardedConfig,
    ScoreConfig,
    SFTConfig,
    StoredResponsesConfig,
)
from engine.protocol.rewards import components_of
from engine.protocol.rundir import Inputs, RunDir
from storage import artifacts, prompts, snapshots
from storage.records import Snapshot
from storage.store import Store
from workbench.services.run_names import model_refs


class NothingToDoError(WorkbenchError):
    """The run is done before it begins."""


class PromptRequest(msgspec.Struct, frozen=True):
    """What was asked besides the configuration; `request.json` in the run directory."""

    prompt_ids: tuple[str, ...] | None = None  # only these prompts
    limit: int | None = None  # at most so many of them


def write_request(run: RunDir, request: PromptRequest) -> None:
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
    models = model_refs(store, config)
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
        run.write_inputs(msgspec.structs.replace(inputs, models=model_refs(store, config)))


def _write_tables(
    store: Store, folder: Path, config: JobConfig, request: PromptRequest
) -> dict[str, Snapshot]:
    if isinstance(config, GenerateConfig | RewardedConfig):
        return {"prompts": _prompts(store, folder, config, request)}
    if isinstance(config, RewardConfig):
        return _judged(store, folder, config)
    if isinstance(config, SFTConfig) and config.learn_from == "responses":
        table = snapshots.write_responses(
            store, folder / "responses.parquet", policy=config.responses_of, source=config.prompts
        )
        of = f" of “{config.responses_of}”" if config.responses_of else ""
        return {"responses": _refuse_empty(table, f"responses{of}", "generate or import some first")}
    if isinstance(config, StoredResponsesConfig):
        return {"rankings": _rankings(store, folder, config)}
    if isinstance(config, ExportConfig):
        path = folder / "responses.parquet"
        table = snapshots.write_responses(store, path, limit=config.samples, shuffle=True)
        return {"responses": _refuse_empty(table, "responses", "generate or import some first")}
    if isinstance(config, ScoreConfig):
        return {"responses": _unscored(store, folder, config, request)}
    return {}


def _prompts(
    store: Store, folder: Path, config: GenerateConfig | RewardedConfig, request: PromptRequest
) -> Snapshot:
    limit = config.limit if isinstance(config, GenerateConfig | BestOfNConfig) else 0
    heldout_by = None
    if isinstance(config, PolicyLearningConfig) and config.heldout_prompts == "reward_model":
        heldout_by = _runs_of_reward_models(store, config)
    table = snapshots.write_prompts(
        store,
        folder / "prompts.parquet",
        source=config.prompts,
        prompt_ids=request.prompt_ids,
        limit=request.limit or limit,
        heldout_by=heldout_by,
    )
    return _refuse_empty(table, "prompts", "import some first")


def _runs_of_reward_models(store: Store, config: PolicyLearningConfig) -> list[str]:
    """The runs that trained what is maximised."""
    parts = components_of(config.reward_model, config.rewards)
    names = dict.fromkeys(part.model for part in parts if not part.is_function)
    found = [artifacts.reward_model(store, name).run_id for name in names]
    return [run for run in found if run is not None]


def _judged(store: Store, folder: Path, config: RewardConfig) -> dict[str, Snapshot]:
    """What a reward model learns from; for a frozen trunk, when asked, also what may be judged next."""
    tables = {"rankings": _rankings(store, folder, config)}
    if config.tuning in ("frozen", "auto") and config.queue_responses:
        criterion = (config.criteria() or ("overall",))[0]
        tables["responses"] = snapshots.write_queue(
            store, folder / "responses.parquet", criterion=criterion, limit=config.queue_responses
        )
    return tables


def _features(store: Store, config: JobConfig) -> dict[str, Path]:
    """What runs have made of the same model and is still there, as the tables `features`, `features_2`, …

    The newest come first; none holds the features of all responses, and only what a run lacks is computed.
    """
    if not isinstance(config, RewardConfig) or config.tuning not in ("frozen", "auto"):
        return {}
    found = artifacts.listed(store, kind="features", name=config.policy)
    files = [Path(artifact.path) / "features.parquet" for artifact in found]
    there = [file.absolute() for file in files if file.is_file()]
    return {"features" if n == 1 else f"features_{n}": file for n, file in enumerate(there, start=1)}


def _rankings(store: Store, folder: Path, config: RewardConfig | StoredResponsesConfig) -> Snapshot:
    table = snapshots.write_rankings(
        store,
        folder / "rankings.parquet",
        criteria=config.criteria(),
        annotator=config.annotator,
        source=config.prompts,
    )
    by = f" by “{config.annotator}”" if config.annotator else ""
    return _refuse_empty(table, f"judgements of “{config.criterion}”{by}", "rank some responses first")


def _unscored(store: Store, folder: Path, config: ScoreConfig, request: PromptRequest) -> Snapshot:
    table = snapshots.write_responses(
        store,
        folder / "responses.parquet",
        unscored_by=artifacts.reward_model(store, config.reward_model).reward_model_id,
        backend="torch-" if config.dtype == "auto" else f"torch-{config.dtype}",
        limit=request.limit or 0,
    )
    if table.rows == 0 and prompts.overview(store).responses > 0:
        raise NothingToDoError(f"Every response has its score of “{config.reward_model}” already.")
    return _refuse_empty(table, "responses", "generate or import some first")


def _refuse_empty(table: Snapshot, what: str, then: str) -> Snapshot:
    if table.rows == 0:
        raise UsageError(f"There are no {what} to work on; {then}.")
    return table


def _hash(tables: dict[str, Snapshot]) -> str:
    """SHA-256 over the hashes of the files, by table name; of a single file its own."""
    hashes = [tables[name].sha256 for name in sorted(tables)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
