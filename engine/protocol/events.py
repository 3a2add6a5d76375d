"""What a job says while it runs.

A job is a generator of `Event`s.  The worker stamps each with a sequence number and a time and appends it as
one JSON line to `RUN_DIR/events.jsonl`; the workbench tails that file and ingests every line exactly once,
keyed by `(run_id, seq)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

LAST_TIME = 253_402_300_800.0  # the year 10000, which no calendar here reaches


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of everything a job can say."""


class Started(Event, frozen=True, kw_only=True, tag="started", omit_defaults=True):
    """The worker has read its configuration and begun; written once a process, again after a resume."""

    pid: int
    device: str  # "cpu AVX2" or "cuda:0 NVIDIA …"
    dtype: str = ""  # number format of the products, `auto` resolved; empty where nothing is multiplied
    versions: Mapping[str, str] = {}
    resumed_from_step: int | None = None


class Progress(Event, frozen=True, kw_only=True, tag="progress", omit_defaults=True):
    """How far a stage has come.  `rate` is in `rate_unit` a second, as the user wants to read it."""

    stage: str  # "loading model", "generating", "training", …
    done: float
    total: float | None = None
    unit: str = ""
    rate: float | None = None
    rate_unit: str = ""


class Metrics(Event, frozen=True, kw_only=True, tag="metrics", omit_defaults=True):
    """Numbers of one step.  Names are `area/name`, e.g. `train/loss`, `heldout/accuracy`, `policy/kl`.

    A value that is not finite is written, and read back, as None: JSON has no NaN.
    """

    step: int
    values: Mapping[str, float | None]


class Output(Event, frozen=True, kw_only=True, tag="output", omit_defaults=True):
    """A finished Parquet file of rows that belong in the store."""

    kind: Literal[
        "responses",
        "scores",
        "step_scores",
        "rollouts",
        "traces",
        "splits",
        "evaluations",
        "unseen",
        "judgements",
    ]
    path: str  # relative to the run directory
    rows: int
    step: int | None = None
    policy: str = ""  # that has answered, of responses: of this run; empty: the one that the run reads


class Artifact(Event, frozen=True, kw_only=True, tag="artifact", omit_defaults=True):
    """A finished file or folder that other work can use."""

    kind: Literal["policy", "reward_model", "onnx", "checkpoint", "features"]
    name: str  # the name it is registered under; for a checkpoint the step
    path: str  # relative to the run directory
    step: int | None = None
    details: Mapping[str, float | int | str | bool | tuple[str, ...] | None] = {}


class Message(Event, frozen=True, kw_only=True, tag="message", omit_defaults=True):
    """One sentence for the person."""

    level: Literal["info", "warning"]
    text: str


class Finished(Event, frozen=True, kw_only=True, tag="finished", omit_defaults=True):
    """The job did all it was asked to do."""

    summary: Mapping[str, float | int | str | None] = {}


class Stopped(Event, frozen=True, kw_only=True, tag="stopped", omit_defaults=True):
    """The job was asked to stop and kept what it had."""

    paused: bool = False  # at the end of a step, with a checkpoint there: resuming repeats nothing


class Failed(Event, frozen=True, kw_only=True, tag="failed", omit_defaults=True):
    """The job cannot go on.  `reason` is one sentence that says what, where and what to do."""

    reason: str


AnyEvent = Started | Progress | Metrics | Output | Artifact | Message | Finished | Stopped | Failed


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `events.jsonl`."""

    seq: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]  # 1, 2, 3 … without gaps, across resumes
    at: Annotated[float, msgspec.Meta(ge=0, lt=LAST_TIME)]  # seconds since the epoch
    event: AnyEvent
