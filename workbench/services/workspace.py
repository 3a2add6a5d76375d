"""Everything the application can do on one store, opened once and shared by screens and commands."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING

from storage import remembered
from storage.errors import LockedError
from storage.remembered import PACKAGE
from storage.store import Store
from workbench.settings import Settings

if TYPE_CHECKING:
    from workbench.services.comparing import Comparing
    from workbench.services.experiments.results import Experiments
    from workbench.services.importing import Importing
    from workbench.services.labels.labels import Labels
    from workbench.services.labels.leaderboard import Leaderboards
    from workbench.services.library import Library
    from workbench.services.live import Live
    from workbench.services.overoptimisation.ways import Overoptimisation
    from workbench.services.policy_learning import PolicyLearning
    from workbench.services.ranking.judging import Judging
    from workbench.services.ranking.stepping import Stepping
    from workbench.services.reports.calibration import Calibrating
    from workbench.services.reports.evaluating import Evaluating
    from workbench.services.reports.reports import Reports
    from workbench.services.runs.estimates import Estimating
    from workbench.services.runs.jobs import Jobs
    from workbench.services.scoring import Scoring
    from workbench.services.sql.sql import Sql


class Workspace:
    """The store and the services over it; each service is imported when it is first used."""

    def __init__(
        self, settings: Settings, store: Store, scratch: TemporaryDirectory[str] | None = None
    ) -> None:
        self.settings = settings
        self.store = store
        self._scratch = scratch  # run directories of a store in memory

    @classmethod
    def open(cls, settings: Settings) -> Workspace:
        """Open the store, making it and its folder when they do not exist.

        Raises `LockedError` when another process holds it, `NewerSchemaError` when a newer version made it.
        """
        scratch = TemporaryDirectory(prefix="workbench-runs-") if settings.in_memory else None
        if scratch is not None:
            return cls(settings, Store.open(settings.db, runs_root=Path(scratch.name)), scratch)
        store = Store.open(Path(settings.db), runs_root=settings.runs_root)
        return cls(_packed(settings, store), store)

    @classmethod
    def read(cls, settings: Settings) -> Workspace:
        """As `open`; where another process holds the store, that one is asked, and nothing can be changed.

        Raises `LockedError` when the holder does not share the store.
        """
        try:
            return cls.open(settings)
        except LockedError as locked:
            from storage.share.remote import RemoteStore

            return cls(settings, RemoteStore.beside(settings.db, locked, settings.runs_root))

    @property
    def relayed(self) -> bool:
        """Whether another process holds the store and answers for it."""
        return hasattr(self.store, "locked")

    @property
    def log_folder(self) -> Path | None:
        """Where the log of faults is kept; None for a store in memory without run directories."""
        return self.store.runs_root

    def close(self) -> None:
        """Close the store; running jobs go on and are found again at the next start."""
        if "live" in self.__dict__:
            self.live.close()
        if "scoring" in self.__dict__:
            self.scoring.close()
        self.store.close()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def library(self) -> Library:
        """Prompts, responses, policies and reward models, to read."""
        from workbench.services.library import Library

        return Library(self.store)

    @cached_property
    def importing(self) -> Importing:
        """Files of others: what they are taken for, and taking them in."""
        from workbench.services.importing import Importing

        return Importing(self.store)

    @cached_property
    def judging(self) -> Judging:
        """What is to be judged next, drafts, verdicts, projects."""
        from workbench.services.ranking.judging import Judging

        settings = self.settings
        return Judging(self.store, settings.criteria, guidelines=settings.guidelines, informed=self.live)

    @cached_property
    def stepping(self) -> Stepping:
        """Steps of responses, judged one by one."""
        from workbench.services.ranking.stepping import Stepping

        return Stepping(self.store)

    @cached_property
    def labels(self) -> Labels:
        """Annotators beside each other: agreement, disagreements, the model of labels."""
        from workbench.services.labels.labels import Labels

        return Labels(self.store)

    @cached_property
    def leaderboards(self) -> Leaderboards:
        """Policies in order of what judges prefer."""
        from workbench.services.labels.leaderboard import Leaderboards

        return Leaderboards(self.store)

    @cached_property
    def live(self) -> Live:
        """The head that is fitted while a person ranks."""
        from workbench.services.live import Live

        return Live(self.store, budget=self.settings.live_responses)

    @cached_property
    def jobs(self) -> Jobs:
        """Runs: starting, following, stopping, resuming."""
        from workbench.services.runs.jobs import Jobs

        return Jobs(self.store, hosts=self.settings.hosts)

    @cached_property
    def scoring(self) -> Scoring:
        """Scores by exported reward models, in this process."""
        from workbench.services.scoring import Scoring

        return Scoring(self.store)

    @cached_property
    def evaluating(self) -> Evaluating:
        """Reward models on benchmarks."""
        from workbench.services.reports.evaluating import Evaluating

        return Evaluating(self.store, self.scoring)

    @cached_property
    def experiments(self) -> Experiments:
        """Methods, seeds and settings beside each other."""
        from workbench.services.experiments.results import Experiments

        return Experiments(self.store)

    @cached_property
    def comparing(self) -> Comparing:
        """Two policies on the same prompts."""
        from workbench.services.comparing import Comparing

        return Comparing(self.store)

    @cached_property
    def reports(self) -> Reports:
        """How good a reward model is."""
        from workbench.services.reports.reports import Reports

        return Reports(self.store)

    @cached_property
    def sql(self) -> Sql:
        """Queries of the user, with walls around them."""
        from workbench.services.sql.sql import Sql

        return Sql(self.store)

    @cached_property
    def policy_learning(self) -> PolicyLearning:
        """What a run of policy learning did, step by step."""
        from workbench.services.policy_learning import PolicyLearning

        return PolicyLearning(self.store)

    @cached_property
    def overoptimisation(self) -> Overoptimisation:
        """Whether reward rose where people's preference did not."""
        from workbench.services.overoptimisation.ways import Overoptimisation

        return Overoptimisation(self.store)

    @cached_property
    def calibrating(self) -> Calibrating:
        """Whether probabilities are as often right as they say."""
        from workbench.services.reports.calibration import Calibrating

        return Calibrating(self.store)

    @cached_property
    def estimating(self) -> Estimating:
        """How long a job will take and what memory it needs."""
        from workbench.services.runs.estimates import Estimating

        return Estimating(self.store)


def _packed(settings: Settings, store: Store) -> Settings:
    """In an annotator's package it is said who judges."""
    annotator = remembered.get(store, PACKAGE)
    return replace(settings, annotator=annotator) if annotator else settings
