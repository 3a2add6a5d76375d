"""What a job reads and what it costs, as its configuration says it.

The workbench writes the tables, finds the models, and reckons memory and time from this alone, so a new job
is told about nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SAMPLED_AT_ONCE = 64  # sequences, where a job does not say
SCALE_PROMPTS, SCALE_SAMPLES = 24, 4  # that the scale of scores is taken from: prompts, and samples of each
TYPICAL_PROMPT = 64  # tokens, where nothing says how long prompts are
TYPICAL_RESPONSE = 128  # tokens, likewise
TYPICAL_RESPONSES = 4  # a prompt, where the data decides it
TYPICAL_RUBRIC = 150  # tokens of what a judge is told besides the texts
TYPICAL_SCORED = 3 * TYPICAL_PROMPT  # tokens of a prompt with its response
KindsOfAnnotators = tuple[Literal["human", "import", "rule", "ai"], ...]
PEOPLE_AND_RULES: KindsOfAnnotators = ("human", "import", "rule")
"""Whose judgements are learned unless somebody says otherwise: models that judge are left out."""
DECODING = 5.0  # a decoded token costs as much as so many that are read together


@dataclass(frozen=True)
class PromptTable:
    """Prompts: `prompt_id`, `messages`, and `split` where somebody has held some out."""

    source: str = ""  # empty: of all
    limit: int = 0  # 0: all
    heldout_by: tuple[str, ...] | None = None  # reward models, whose held-out prompts are marked


@dataclass(frozen=True)
class RankingTable:
    """Judged responses with their ranks, a row for each response of each judgement."""

    criteria: tuple[str, ...] | None  # None: all that there are
    criterion: str = "overall"  # the same as somebody wrote it, for sentences
    annotator: str = ""  # empty: all
    source: str = ""  # of their prompts
    of_run: bool = False  # only of the run's own responses; written anew whenever it starts or is resumed
    kinds: tuple[str, ...] | None = PEOPLE_AND_RULES  # None: all.  One named as annotator always counts


@dataclass(frozen=True)
class ResponseTable:
    """Stored responses with their prompts."""

    policy: str = ""  # empty: of all
    source: str = ""  # of their prompts
    sample: int = 0  # so many, drawn by chance; 0: all
    unscored_by: str = ""  # only those that this reward model has not scored …
    backend: str = ""  # … by this backend
    verifies: str = ""  # a reward model; one that was registered brings texts of its own where there are none


@dataclass(frozen=True)
class QueueTable:
    """Responses that are worth judging next."""

    criterion: str
    limit: int


@dataclass(frozen=True)
class PairTable:
    """Pairs of different responses to one prompt, with the criteria by which an annotator has judged each."""

    source: str = ""  # of their prompts
    limit: int = 0  # prompts; 0: all
    pairs_a_prompt: int = 0  # drawn by chance; 0: all
    seed: int = 0  # of that chance
    judged_by_people: bool = False  # only those that people, or imported files, have judged
    annotator: str = ""  # whose earlier judgements are told
    experiment: str = ""  # only pairs of different arms of it with one seed; empty: all


@dataclass(frozen=True)
class StepTable:
    """Responses whose steps somebody has judged, a row for each annotator."""

    annotator: str = ""  # empty: all
    source: str = ""  # of their prompts
    kinds: tuple[str, ...] | None = PEOPLE_AND_RULES  # None: all.  One named as annotator always counts


Table = PromptTable | StepTable | RankingTable | ResponseTable | QueueTable | PairTable


@dataclass(frozen=True)
class JobInputs:
    """Everything that a job reads."""

    tables: Mapping[str, Table]  # by the name under which the job finds them (`RunDir.table`)
    policy: str | None = None  # the field `policy`: name in the store, hub id or folder
    policies: Mapping[str, str] = field(default_factory=dict)  # further ones, named as it is, by role
    reference: str = ""  # a policy that `policy` is measured against, named as that one is; empty: none
    reward_models: Mapping[str, str] = field(default_factory=dict)  # names in the store, by role
    files: Mapping[str, str] = field(default_factory=dict)  # a person's own, by the name of the run's copy
    judge: str = ""  # the annotator that the job judges as
    features_of: str = ""  # the policy whose features of a frozen trunk are taken over from earlier runs

    @property
    def source(self) -> str:
        """The source of the prompts that the job is about; empty where it is about all."""
        return next(
            (t.source for t in self.tables.values() if not isinstance(t, QueueTable) and t.source), ""
        )


@dataclass(frozen=True)
class Cost:
    """The numbers that a job's memory follows from, beside the sizes of its model.

    Every model that it holds is taken to be as large as the policy.
    """

    models: int = 1  # held at once
    tuning: Literal["", "frozen", "lora", "full"] = ""  # what is trained; empty where nothing is
    lora_rank: int = 16
    trained: int = 1  # models that are, where any is
    sampled_at_once: int = 0  # sequences
    row_tokens: int = TYPICAL_PROMPT + TYPICAL_RESPONSE  # of the longest prompt with one response
    microbatch_tokens: int | None = None  # in one forward pass; None where the job has no such limit
    activations: Literal["keep", "recompute", "offload"] = "keep"  # of a forward pass, for the backward one
    four_bits: bool = False  # the policy's blocks, under its adapters
    measures_logprobs: bool = False  # of whole responses, without gradients
    scores: bool = False  # by reward models
    endpoint: str = ""  # where the work is done, if that is not here
    computes: bool = True  # with a model here or there; a plain function costs what it costs
