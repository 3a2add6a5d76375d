"""The run directory: what a job is given, and where it puts what it makes.

The workbench writes `config.toml`, `inputs.json` and `inputs/*.parquet`; the worker and the job write the
rest.  Folders are 0700 and files 0600: prompts and judgements may be private.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import UsageError, WorkbenchError
from engine.files import PRIVATE_FOLDER, write_atomic, writing_folder
from engine.protocol.building import build_typed
from engine.protocol.catalog import JOBS, job_kind
from engine.protocol.configs import JobConfig


class ModelRef(msgspec.Struct, frozen=True):
    """A model that the job reads."""

    name: str  # the person's word for it, or its name in the store
    folder: str  # what `engine.models.catalogue.resolve_model` takes: a folder, a hub id or `smollm2`


class Inputs(msgspec.Struct, frozen=True):
    """What a run reads besides its configuration."""

    models: dict[str, ModelRef] = {}  # "policy", "reward_model"
    tables: dict[
        str, Path
    ] = {}  # "prompts", "rankings", "responses" → Parquet, relative to the run directory; "features"
    data_hash: str = ""  # SHA-256 of the rows of all tables


class RunDir:
    """One run directory.  Everything is reached through here, so its layout is written down once."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @classmethod
    def create(cls, path: Path, config: JobConfig) -> RunDir:
        """Make the directory and write `config.toml`; existing directories are refused."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        try:
            path.mkdir(mode=PRIVATE_FOLDER)
        except FileExistsError:
            raise WorkbenchError(f"The run directory {path} exists already.") from None
        run = cls(path)
        write_config(run.config_path, config)
        return run

    # What the job is given

    @property
    def config_path(self) -> Path:
        """The job's configuration."""
        return self.path / "config.toml"

    @property
    def inputs_path(self) -> Path:
        """What the job reads, resolved to folders and files."""
        return self.path / "inputs.json"

    def read_config(self) -> tuple[str, JobConfig]:
        """Kind and configuration of the job.  Raises UsageError when the file is not right."""
        return read_config(self.config_path)

    def write_inputs(self, inputs: Inputs) -> None:
        """Write what the run reads, whole or not at all."""
        write_atomic(self.inputs_path, msgspec.json.format(msgspec.json.encode(inputs, enc_hook=str)))

    @property
    def inputs(self) -> Inputs:
        """What the run reads.  Raises WorkbenchError when the file is missing or broken."""
        try:
            return msgspec.json.decode(self.inputs_path.read_bytes(), type=Inputs, dec_hook=_as_path)
        except FileNotFoundError:
            raise WorkbenchError(f"{self.inputs_path} is missing: the run has not been prepared.") from None
        except msgspec.DecodeError as error:
            raise WorkbenchError(f"{self.inputs_path} cannot be read: {error}.") from None

    def table(self, name: str) -> Path:
        """The Parquet file of an input table ("prompts", "rankings", "responses" or "features")."""
        tables = self.inputs.tables
        if name not in tables:
            raise WorkbenchError(f"The run in {self.path} has no input table “{name}”.")
        return self.path / tables[name]

    def file(self, name: str) -> Path:
        """The run's copy of a file that its configuration names; the ending is the file's own."""
        files = sorted((self.path / "inputs").glob(f"{name}.*"))
        if not files:
            raise WorkbenchError(f"The run in {self.path} has lost its copy of the {name}.")
        return files[0]

    def keep_file(self, name: str, source: Path) -> None:
        """Copy a person's file, so that the run does not change when they change it."""
        folder = self._folder("inputs")
        write_atomic(folder / f"{name}{source.suffix.lower()}", source.read_bytes())

    def model(self, role: str) -> ModelRef:
        """The model that the job reads as "policy" or "reward_model"."""
        models = self.inputs.models
        if role not in models:
            raise WorkbenchError(f"The run in {self.path} names no {role.replace('_', ' ')}.")
        return models[role]

    # What the process says about itself

    @property
    def events_path(self) -> Path:
        """The log that the workbench tails."""
        return self.path / "events.jsonl"

    @property
    def process_path(self) -> Path:
        """Pid and start time of the process, by which a run is found again."""
        return self.path / "process.json"

    @property
    def stdout_path(self) -> Path:
        """What the worker prints; nothing of it is read by the workbench."""
        return self.path / "stdout.log"

    @property
    def stderr_path(self) -> Path:
        """Where a worker that dies says why; its tail becomes the run's reason."""
        return self.path / "stderr.log"

    @property
    def stop_path(self) -> Path:
        """Exists when the job is asked to stop."""
        return self.path / "stop"

    @property
    def pause_path(self) -> Path:
        """Exists when the job is asked to stop at the end of its step."""
        return self.path / "pause"

    @property
    def lock_path(self) -> Path:
        """Locked by the worker as long as it lives."""
        return self.path / "lock"

    @property
    def ranks_path(self) -> Path:
        """Where the processes of a run on several devices meet, and all but the first work."""
        return self.path / "ranks"

    # What the job makes

    def output_path(self, kind: str, n: int) -> Path:
        """Where Parquet file `n` of a kind (responses, scores, rollouts) goes; the folder exists."""
        return self._folder("outputs") / f"{kind}-{n:06d}.parquet"

    def trace_path(self, step: int) -> Path:
        """Where the token traces of `step` go; the folder exists."""
        return self._folder("traces") / f"step-{step:06d}.parquet"

    def artifact_dir(self, name: str) -> Path:
        """The folder of an artifact ("model", "onnx"), made when missing."""
        return self._folder(name)

    def relative(self, path: Path) -> str:
        """`path` as an event names it: relative to the run directory."""
        return path.absolute().relative_to(self.path).as_posix()

    def checkpoint_dir(self, step: int) -> Path:
        """Where the checkpoint of `step` lies once it is complete; write it through `writing_checkpoint`."""
        return self.path / "checkpoints" / f"step-{step:06d}"

    @contextlib.contextmanager
    def writing_checkpoint(self, step: int, *, keep: int = 2) -> Iterator[Path]:
        """A temporary folder that becomes `checkpoint_dir(step)` when the block ends without an error.

        A process killed within the block leaves no checkpoint that looks complete.  Of the complete ones the
        last `keep` stay.
        """
        self._folder("checkpoints")
        with writing_folder(self.checkpoint_dir(step)) as temporary:
            yield temporary
        for old in self.checkpoints()[: -max(1, keep)]:
            shutil.rmtree(old, ignore_errors=True)

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest step first."""
        folder = self.path / "checkpoints"
        folders = [path for path in folder.glob("step-*") if _step(path) is not None and path.is_dir()]
        return sorted(folders, key=checkpoint_step)

    def latest_checkpoint(self) -> Path | None:
        """The complete checkpoint of the highest step, to resume from."""
        checkpoints = self.checkpoints()
        return checkpoints[-1] if checkpoints else None

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        return folder


def _as_path(wanted: type, value: str) -> Path:
    return Path(value)


def _step(path: Path) -> int | None:
    match = re.fullmatch(r"step-(\d+)", path.name)
    return int(match[1]) if match else None


def checkpoint_step(path: Path) -> int:
    """The step that a checkpoint folder was written after.  Raises ValueError for another folder."""
    step = _step(path)
    if step is None:
        raise ValueError(f"{path} is not a checkpoint folder")
    return step


def write_config(path: Path, config: JobConfig) -> None:
    """Write a configuration as TOML, the kind of the job first."""
    kind = job_kind(config)
    body = msgspec.toml.encode({"kind": kind.kind, **msgspec.to_builtins(config)})
    write_atomic(path, f"# {kind.title}\n".encode() + body)


def read_config(path: Path) -> tuple[str, JobConfig]:
    """Kind and configuration from a TOML file.  Raises UsageError: what is wrong, where, what was meant."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.") from None
    kind = values.pop("kind", None)
    if kind not in JOBS:
        raise UsageError(f"{path} names the job kind {kind!r}; known kinds are {', '.join(JOBS)}.")
    try:
        return kind, build_typed(JOBS[kind].config, values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
