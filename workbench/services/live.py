"""The live reward model: a head over a frozen trunk's features, refitted while people judge.

The trunk's hidden states of every response lie in a file that a reward job with `tuning = "frozen"` wrote.
What is left is a convex fit of a few seconds at most, which needs numpy and no torch, so it runs in this
process: in a thread of low priority, never two at once, after every few new judgements.  Screens read the
frozen snapshot `Live.state` whenever they like, and call `Live.notice` in a thread when the store changed.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError, WorkbenchError
from engine.protocol.processes import NICENESS
from storage import artifacts, judgements, policies
from storage.errors import StoreError
from storage.records import ArtifactRow, RewardModelRow
from storage.store import Store
from workbench.garbage import keep_loaded

if TYPE_CHECKING:
    from engine.protocol.configs import RewardConfig
    from engine.scoring import Scorer
    from engine.scoring.head import RewardHead
    from storage.records import RunRow
    from workbench.services.live_fit import LiveFit
    from workbench.services.runs.jobs import Jobs
    from workbench.services.scoring import Scoring

FIRST = 20
"""Judgements before the first fit: with fewer, cross-validation says nothing."""
EVERY = 3
"""New judgements, undone ones too, before the next fit."""
CANDIDATES = 1000
"""Prompts whose scores are computed before they are judged; those with the fewest judgements."""
BUDGET = 500
"""Responses of the label queue whose features are computed when a person asks for the live model."""
PACKAGED = "smollm2"


@dataclass(frozen=True)
class LiveState:
    """What the live model knows now."""

    base: str = ""
    """The model whose features are read; empty while there are none."""
    computing: str = ""
    """The run that computes features now, with its share done: `reward-1a2b3c 62 %`; empty when none does."""
    standing: int = 0
    """Judgements that stand in the store."""
    refits: int = 0
    """Fits so far; 0 means that there is no head yet."""
    judgements: int = 0
    """Judgements that stood at the last fit."""
    pairs: int = 0
    """Pairs of responses with features that they imply."""
    without_features: int = 0
    """Judged responses that have no features yet."""
    accuracy: float | None = None
    """Of cross-validation over prompts, ties one half; 0 … 1."""
    accuracy_error: float | None = None
    """Standard error of it, over prompts."""
    log_loss: float | None = None
    """Of the same cross-validation, in nats; ln 2 is a coin."""
    strength: float | None = None
    """Of the ridge, chosen by cross-validation."""
    seconds: float | None = None
    """The last fit took, with everything."""
    history: tuple[float, ...] = ()
    """Log-loss of every fit so far."""
    head: RewardHead | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    """By response id, of judged responses and of those that may be judged next."""
    working: bool = False
    problem: str = ""
    """Why the last fit failed, one sentence."""

    @property
    def missing(self) -> int:
        """Judgements still missing until the first fit."""
        return max(0, FIRST - self.standing)


NOTHING = LiveState()


@dataclass(frozen=True)
class Agreement:
    """A ranking beside that of the live model from before it."""

    agree: int
    pairs: int
    """Pairs that the person put in an order; ties are left out."""
    order: tuple[str, ...]
    """Response ids as the model would have ranked them, best first."""


class Live:
    """The live model of one store.  Thread-safe."""

    def __init__(self, store: Store, criterion: str = "overall", *, budget: int = BUDGET) -> None:
        self.store = store
        self.budget = budget
        self.criterion = criterion
        self._state = NOTHING
        self._fitted: LiveFit | None = None
        self._features: ArtifactRow | None = None
        self._older: list[ArtifactRow] = []
        self._read: ArtifactRow | None = None  # the features of the last fit
        self._seen = (-1, "")  # rows of judgements and features of the last fit, even of one that failed
        self._asked = False  # whether somebody judges in the order of what would be learned most from
        self._deciding = threading.Lock()
        self._fitting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    def state(self) -> LiveState:
        """The newest snapshot; never waits."""
        return self._state

    # -- refitting ------------------------------------------------------------------------------------------

    def notice(self) -> LiveState:
        """See what changed in the store and start a fit if one is due.  It queries: call it in a thread."""
        with self._deciding:
            if self._closed.is_set():
                return self._state
            due = self._look()
            alive = self._thread is not None and self._thread.is_alive()
            if due and not alive:
                self._thread = threading.Thread(target=self._work, name="live refit", daemon=True)
                self._update(working=True)
                self._thread.start()
            return self._state

    def refit(self) -> LiveState:
        """Fit now, whatever is due, and wait for it.

        Raises `UsageError` when there are no features or too few judgements.
        """
        with self._deciding:
            self._look()
        if self._features is None:
            raise UsageError(
                "There are no features of responses yet; compute them with a frozen reward model: "
                "workbench train reward NAME --tuning frozen."
            )
        if self._state.missing:
            raise UsageError(f"The live model starts with {FIRST} judgements; {self._state.standing} so far.")
        self._fit()
        return self._state

    def close(self) -> None:
        """Let a running fit end and start no other."""
        self._closed.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _update(self, **changes: object) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def _look(self) -> bool:
        """Read what the store has now; whether a fit is due."""
        there = [row for row in artifacts.listed(self.store, kind="features") if Path(row.path).is_dir()]
        self._features, self._older = (there[0], there[1:]) if there else (None, [])
        base = "" if self._features is None else self._features.name
        standing = judgements.count_standing(self.store, self.criterion)
        self._update(base=base, standing=standing, computing=self._computing())
        written = judgements.written(self.store, self.criterion)
        rows, features = self._seen
        if self._features is None or standing < FIRST:
            return False
        return features != self._features.artifact_id or rows < 0 or abs(written - rows) >= EVERY

    def _computing(self) -> str:
        """The job that computes features and how far it is, as a line shows it."""
        row = self._computing_run()
        if row is None:
            return ""
        done = "" if row.progress is None else f" {100 * row.progress:.0f}%"
        return f"{row.run_id}{done}"

    def _computing_run(self) -> RunRow | None:
        """The frozen reward job that is queued or running."""
        from storage import runs

        waiting = reversed(runs.unfinished(self.store))
        return next((row for row in waiting if row.config.get("tuning") == "frozen"), None)

    def _work(self) -> None:
        """The thread: fit until nothing is due any more."""
        if sys.platform == "linux":  # where a thread has a niceness of its own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._closed.is_set():
            try:
                self._fit()
            except (WorkbenchError, StoreError, OSError) as error:
                self._update(problem=str(error), working=False)
            with self._deciding:
                if self._closed.is_set() or not self._look_again():
                    self._update(working=False)
                    return

    def _look_again(self) -> bool:
        try:
            return self._look()
        except StoreError:  # it was closed under us
            return False

    def _fit(self) -> None:
        from workbench.services.live_fit import fit

        with self._fitting:
            features = self._features
            if features is None:
                return
            begun = time.perf_counter()
            written = judgements.written(self.store, self.criterion)
            self._seen = (written, features.artifact_id)
            standing = judgements.count_standing(self.store, self.criterion)
            votes = judgements.votes(self.store, self.criterion)
            waiting = judgements.least_judged(self.store, self.criterion, limit=CANDIDATES)
            folders = [Path(row.path) for row in (features, *self._older)]
            self._fitted = fitted = fit(folders, votes, waiting, informative=self._asked)
            self._read = features
            if not self._state.refits:
                keep_loaded()  # numpy and pyarrow, since the first fit
            self._update(
                base=features.name,
                refits=self._state.refits + 1,
                judgements=standing,
                pairs=fitted.pairs,
                without_features=fitted.without_features,
                accuracy=_known(fitted.accuracy),
                accuracy_error=_known(fitted.accuracy_error),
                log_loss=_known(fitted.log_loss),
                strength=fitted.strength,
                seconds=time.perf_counter() - begun,
                history=(*self._state.history, *(() if math.isnan(fitted.log_loss) else (fitted.log_loss,))),
                head=fitted.head,
                scores=fitted.scores,
                problem="",
            )

    # -- what it is for -------------------------------------------------------------------------------------

    @property
    def refits(self) -> int:
        """Fits so far: after each, what would be learned most from is another."""
        return self._state.refits

    def most_informative(self) -> Sequence[tuple[str, str, str]]:
        """Prompt and two responses, those first from whose judgement the head would learn most.

        Empty before a fit that knew that somebody asks: this asks.
        """
        if not self._asked:
            self._asked = True
            self._seen = (-1, "")  # the next look finds a fit due
        return () if self._fitted is None else self._fitted.informative

    def agreement(self, ranks: Mapping[str, int]) -> Agreement | None:
        """How the model, as it is now, orders responses that a person ranks so; None when it cannot.

        Ask before the judgement is fitted: afterwards the model has seen the answer.
        """
        scores = self._state.scores
        if len(ranks) < 2 or any(response not in scores for response in ranks):
            return None
        ordered = [(x, y) if ranks[x] < ranks[y] else (y, x) for x, y in combinations(ranks, 2)
                   if ranks[x] != ranks[y]]  # fmt: skip
        agree = sum(scores[better] > scores[worse] for better, worse in ordered)
        return Agreement(agree, len(ordered), tuple(sorted(ranks, key=lambda key: -scores[key])))

    def features_config(self) -> RewardConfig:
        """The job that computes features of what is judged and of what waits next, within the budget."""
        from engine.protocol.configs import RewardConfig
        from storage import runs
        from workbench.services.runs.run_names import with_free_name

        config = RewardConfig(
            name="live",
            policy=self._base_policy(),
            tuning="frozen",
            criterion=self.criterion,
            queue_responses=self.budget,
        )
        return with_free_name(self.store, config, runs.run_rows(self.store))

    def compute_features(self, jobs: Jobs) -> str:
        """Queue the job that computes features, and its export behind it; the run's id.

        It is a frozen reward model of the policy that most responses came from.  Raises `UsageError` while
        such a job runs or nobody has judged.
        """
        config = self.features_config()
        if running := self._computing_run():
            raise UsageError(f"{running.run_id} is computing features already; F5 shows it.")
        if judgements.count_standing(self.store, self.criterion) == 0:
            raise UsageError("Judge a few prompts first; then L starts the live model.")
        run_id, _export = jobs.submit_with_export("reward", config)
        return run_id

    def _base_policy(self) -> str:
        """The policy that most responses came from and that there is a model of."""
        known = [row for row in policies.listed(self.store) if row.model is not None]
        best = max(known, key=lambda row: row.responses, default=None)
        return best.name if best is not None and best.responses else PACKAGED

    # -- scoring --------------------------------------------------------------------------------------------

    def fits(self, reward_model: RewardModelRow) -> bool:
        """Whether this reward model's trunk gives the features that the live head reads."""
        from engine.frozen.store import FILE, FeatureInfo

        head, features = self._state.head, self._read
        if head is None or features is None or reward_model.run_id is None:
            return False
        try:
            read = FeatureInfo.of(Path(features.path) / FILE)
            return any(
                made.kind == "features" and FeatureInfo.of(Path(made.path) / FILE).fits(read)
                for made in artifacts.of_run(self.store, reward_model.run_id)
            )
        except WorkbenchError:  # files that are gone or broken: the model is then not offered as live
            return False

    def scorer(self, scoring: Scoring, reward_model: str, precision: str) -> Scorer:
        """The scorer of an exported frozen reward model with the live head on its trunk."""
        head = self._state.head
        scorer = scoring.scorer(reward_model, precision)
        return scorer if head is None else scorer.with_head(head)


def _known(figure: float) -> float | None:
    return None if math.isnan(figure) else figure
