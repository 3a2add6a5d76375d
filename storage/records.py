"""What the store gives: frozen records, one a kind of row.  Times are naive UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt as a list shows it: the text of its last turn, and what there is of it."""

    prompt_id: str
    text: str
    source: str | None
    responses: int
    judgements: int


@dataclass(frozen=True, slots=True)
class ResponseRow:
    """A response with what is known of how it was made and how it was judged."""

    response_id: str
    prompt_id: str
    policy: str
    text: str
    tokens: int | None
    finish_reason: str | None
    run_id: str | None
    sample_index: int
    mean_rank: float | None
    scores: Mapping[str, float]  # by name of the reward model


@dataclass(frozen=True, slots=True)
class CandidateResponse:
    """A response that can be judged; `seen` when this annotator has judged or skipped it already."""

    response_id: str
    text: str
    policy: str
    seen: bool


@dataclass(frozen=True, slots=True)
class CandidatePair:
    """Two responses to one prompt that may be asked about next."""

    prompt_id: str
    response_a: str
    response_b: str


@dataclass(frozen=True, slots=True)
class Votes:
    """Two responses to one prompt, and how many standing judgements prefer which."""

    prompt_id: str
    response_a: str  # the lesser id
    response_b: str
    wins: int  # of response_a
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """What a judgement says of one response."""

    response_id: str
    rank: int | None = None  # 1 is best; equal ranks tie
    rating: float | None = None
    position: int | None = None  # where it stood on the screen, from 0


@dataclass(frozen=True, slots=True)
class Span:
    """What was written on a passage of a response: characters `begins` to before `ends` of its text."""

    response_id: str
    begins: int
    ends: int
    comment: str


@dataclass(frozen=True, slots=True)
class NewJudgement:
    """One annotator's verdict, before it is stored.  A skip lists the responses that were shown, unranked."""

    prompt_id: str
    annotator: str
    kind: str  # ranking, partial, best_of, best_worst, pair, rating, skip
    items: tuple[JudgedItem, ...]
    criterion: str = "overall"
    seconds: float | None = None
    flagged: bool = False
    note: str | None = None
    reason: str | None = None
    supersedes: str | None = None
    source: str | None = None
    strength: float | None = None  # of a pair: 1 slightly, 2 clearly, 3 much better
    outcome: str | None = None  # of a pair without a winner: both_bad
    confidence: int | None = None  # 1 a guess, 2 fairly sure, 3 certain
    sitting: str | None = None  # shared by judgements that were made at once
    assignment_id: str | None = None  # the entry of a project's queue that it answers
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgementRow:
    """A judgement that stands, or one that another supersedes."""

    judgement_id: str
    prompt_id: str
    annotator: str
    kind: str
    criterion: str
    supersedes: str | None
    reason: str | None
    flagged: bool
    note: str | None
    seconds: float | None
    source: str | None
    created_at: datetime
    strength: float | None
    outcome: str | None
    confidence: int | None
    sitting: str | None
    assignment_id: str | None = None
    items: tuple[JudgedItem, ...] = ()
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class PaceCounts:
    """How far an annotator is, and how fast lately."""

    done: int
    remaining: int
    today: int
    recent: int  # judgements among the latest 20 that took a known time …
    recent_seconds: float  # … and how long those took

    @property
    def per_hour(self) -> float | None:
        """Judgements in an hour at the pace of the latest; None where none took a known time."""
        return 3600 * self.recent / self.recent_seconds if self.recent_seconds > 0 else None


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How a policy did in what one annotator has judged: its share of pairs with others, a tie one half."""

    name: str
    pairs: int
    share: float


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy: a language model that answers, or a name that responses were imported under."""

    policy_id: str
    name: str
    model: str | None  # hub id, folder or "smollm2"; None for imported responses
    parent: str | None  # name of the policy it was trained from
    run_id: str | None
    responses: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RewardModelRow:
    """A reward model with its latest export and its figures on held-out prompts."""

    reward_model_id: str
    name: str
    folder: str
    run_id: str | None
    onnx_folder: str | None
    precisions: tuple[str, ...]
    accuracy: float | None  # held-out, ties one half
    log_loss: float | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """A folder that a run left, or that somebody registered."""

    artifact_id: str
    run_id: str | None
    kind: str
    name: str
    parent_id: str | None
    path: str
    step: int | None
    details: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run with every column of the table; `name` is what its configuration calls its product or subject."""

    run_id: str
    kind: str
    name: str
    status: str
    config: Mapping[str, Any]
    waits_for: str | None
    data_hash: str | None
    run_dir: str | None
    device: str | None
    pid: int | None
    pid_started: float | None
    last_seq: int
    last_offset: int
    stage: str | None
    progress: float | None
    reason: str | None
    stderr_tail: str | None
    summary: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    dtype: str | None = None  # number format that it computes in, once it has started


@dataclass(frozen=True, slots=True)
class RunMessage:
    """A sentence that a run has said."""

    seq: int
    level: str
    text: str
    logged_at: datetime


@dataclass(frozen=True, slots=True)
class NewScore:
    """One number of one reward model for one response, before it is stored."""

    response_id: str
    reward_model_id: str
    score: float
    backend: str
    run_id: str | None = None
    criterion: str = "overall"
    uncertainty: float | None = None  # standard deviation over an ensemble
    cut: bool | None = None  # the model has read a part of prompt and response; None where nobody has said


@dataclass(frozen=True, slots=True)
class UnscoredResponse:
    """A response that a reward model has no score for."""

    response_id: str
    prompt_id: str
    messages: str  # canonical JSON of the conversation
    text: str


@dataclass(frozen=True, slots=True)
class SideBySide:
    """A response of each of two policies to one prompt, with their scores."""

    prompt_id: str
    prompt: str
    response_a: str
    text_a: str
    score_a: float | None
    response_b: str
    text_b: str
    score_b: float | None


@dataclass(frozen=True, slots=True)
class WinRateRow:
    """How often one policy is preferred to another, by one judge; the error is over prompts."""

    judged_by: str
    judge: str
    criterion: str | None
    policy_a: str
    policy_b: str
    prompts: int
    wins: int
    ties: int
    losses: int
    rate: float
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """How far two annotators agree on the pairs that both have judged; ties as each gives them."""

    annotator_a: str
    annotator_b: str
    criterion: str
    pairs: int
    agreement: float
    ties_a: float
    ties_b: float
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """How much of everything the store holds."""

    prompts: int
    responses: int
    policies: int
    annotators: int
    judgements: int  # those that stand
    reward_models: int
    scores: int
    runs: int
    rollouts: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is to work with."""

    prompts: int
    responses: int
    judgements: int  # those that stand


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query that was run, or that was given a name."""

    query_id: str
    name: str | None
    sql: str
    rows: int | None
    seconds: float | None
    error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table or view with its columns, as the SQL screen lists it."""

    name: str
    kind: str  # table, view
    columns: tuple[tuple[str, str], ...]  # name, type


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A Parquet file of what a run reads; `sha256` is that of the file."""

    path: Path
    rows: int
    sha256: str
