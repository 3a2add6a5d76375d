"""Labelling projects of one store: applying a file, the queue of each annotator, how far everybody is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import projects, remembered
from storage.projects import Assignment, Check, ProjectRow, ProjectVersion, QueueProgress
from storage.store import Store
from workbench.services.projects.applying import Applied, apply
from workbench.services.projects.project_file import (
    TEMPLATE,
    ProjectFile,
    guidelines_of,
    parse,
    quoted,
    read,
)
from workbench.services.ranking.label_queue import LabelQueue
from workbench.services.ranking.upcoming import FIXED, Upcoming

if TYPE_CHECKING:
    from workbench.services.projects.ways import Ways

__all__ = ["Active", "Applied", "Check", "ProjectOverview", "Projects", "QueueProgress"]

CURRENT = "project"
"""Key of the store under which the name of the project is kept that the rank screen follows."""
AMONG = 5000
"""Open entries among which an order of the label queue chooses."""


@dataclass(frozen=True)
class Active:
    """A project as those see it who judge in it."""

    project: ProjectFile
    guidelines: str
    version: int

    @property
    def name(self) -> str:
        """Of the project, as commands take it."""
        return self.project.name


@dataclass(frozen=True)
class ProjectOverview:
    """A project and how far it is."""

    name: str
    version: int
    mode: str
    overlap: int
    tasks: Mapping[int, int]
    """How many tasks have so many labels, up to the overlap."""
    progress: tuple[QueueProgress, ...]
    checks: tuple[Check, ...]


class Projects:
    """The projects of a store.  `queue` chooses among open entries where a project's order is not fixed."""

    def __init__(self, store: Store, queue: LabelQueue) -> None:
        self._store, self._queue = store, queue
        self._upcoming: Upcoming[Assignment] = Upcoming()
        self._known: tuple[str, Active] | None = None

    # -- which one ------------------------------

    def current(self) -> Active | None:
        """The project that the rank screen follows."""
        name = remembered.get(self._store, CURRENT)
        if not name:
            return None
        version = projects.version(self._store, name)
        if version is None:
            return None
        key = f"{name} {version.version}"
        if self._known is None or self._known[0] != key:
            project = parse(version.source, f"The project “{name}”")
            self._known = key, Active(project, version.guidelines, version.version)
        return self._known[1]

    def use(self, name: str | None) -> None:
        """Let the rank screen follow a project; None: the label queue of the whole store.

        Raises `UsageError` for a project that there is not.
        """
        if name:
            self._version(name)
        remembered.put(self._store, CURRENT, name or "")
        self.forget()

    def listed(self) -> list[ProjectRow]:
        """Every project, with how far it is."""
        return projects.listed(self._store)

    def text(self, name: str) -> str:
        """The TOML text of a project as it counts."""
        return self._version(name).source

    def file(self, name: str) -> ProjectFile:
        """What that text says."""
        return parse(self.text(name), f"The project “{name}”")

    def guidelines(self, name: str) -> str:
        """What the project's file tells its annotators; empty where it tells nothing."""
        return self._version(name).guidelines

    def overview(self, name: str) -> ProjectOverview:
        """Coverage, progress and checks of a project as it stands.  Raises UsageError without one."""
        version = self._version(name)
        project = parse(version.source, f"The project “{name}”")
        return ProjectOverview(
            name,
            version.version,
            project.mode,
            project.overlap,
            projects.coverage(self._store, name),
            tuple(projects.progress(self._store, name)),
            tuple(projects.checks(self._store, name)),
        )

    def ways(self, name: str) -> Ways:
        """The two ways of judging of a crossed project compared.  Raises UsageError for another project."""
        from workbench.services.projects.ways import compare

        return compare(self._store, name, self.file(name))

    def _version(self, name: str) -> ProjectVersion:
        version = projects.version(self._store, name)
        if version is None:
            names = [row.name for row in self.listed()]
            raise UsageError(f"There is no project “{name}”. {did_you_mean(name, names)}")
        return version

    # -- making the queues ------------------------------

    def apply_file(self, path: Path, *, dry_run: bool = False) -> Applied:
        """Make the queues that a project's file asks for; judged entries stay, the same file changes nothing.

        Raises `UsageError` for a file that cannot be read, or prompts and answers that there are not.
        """
        project, text, guidelines = read(path)
        return self._applied(project, text, guidelines, str(path.absolute().parent), dry_run=dry_run)

    def apply_text(self, text: str) -> Applied:
        """The same for a text that was written in the terminal; it may name guidelines as before."""
        project = parse(text, "The project")
        version = projects.version(self._store, project.name)
        folder = version.folder if version is not None else ""
        before = parse(version.source, "The project").guidelines if version is not None else ""
        if version is not None and project.guidelines == before:
            guidelines = version.guidelines
        else:
            guidelines = guidelines_of(project, Path(folder or "."), "The project")
        return self._applied(project, text, guidelines, folder, dry_run=False)

    def _applied(
        self, project: ProjectFile, text: str, guidelines: str, folder: str, *, dry_run: bool
    ) -> Applied:
        done = apply(self._store, project, text, guidelines, folder, dry_run=dry_run)
        self.forget()
        return done

    def follow_file(self, path: Path) -> Applied:
        """Apply a file and let the rank screen follow the project."""
        done = self.apply_file(path)
        self.use(done.name)
        return done

    def follow_text(self, text: str) -> Applied:
        """Apply a text and let the rank screen follow the project."""
        done = self.apply_text(text)
        self.use(done.name)
        return done

    def template(self, annotator: str) -> str:
        """A text to fill in, without guidelines in a file."""
        return TEMPLATE.format(name=quoted("labels"), guidelines='""', annotator=quoted(annotator))

    # -- working through one ------------------------------

    def next(self, active: Active, annotator: str, exclude: Collection[str] = ()) -> Assignment | None:
        """What the annotator should judge next; None when nothing waits, or the name has no queue.

        `exclude` holds prompt ids.
        """
        name = active.name
        if active.project.order not in FIXED and (assigned := self._by_order(active, annotator, exclude)):
            return assigned
        return self._upcoming.first(
            (name, str(active.version), annotator),
            lambda limit: projects.waiting(self._store, name, annotator, limit),
            lambda assignment: projects.is_open(self._store, assignment),
            lambda assignment: assignment.prompt_id in exclude,
        )

    def _by_order(self, active: Active, annotator: str, exclude: Collection[str]) -> Assignment | None:
        """Where the first entry is a label, the label that the queue's order puts first."""
        waiting = projects.waiting(self._store, active.name, annotator, AMONG)
        waiting = [entry for entry in waiting if entry.prompt_id not in exclude]
        if not waiting or waiting[0].kind != "label":
            return waiting[0] if waiting else None
        way = waiting[0].mode  # of a crossed project the one that is on
        labels = {e.prompt_id: e for e in reversed(waiting) if e.kind == "label" and e.mode == way}
        criterion = active.project.first_criterion
        best = self._queue.prompts(
            annotator, active.project.order, criterion=criterion, limit=1, among=tuple(labels)
        )
        return labels[best[0]] if best and best[0] in labels else waiting[0]

    def prepare(self, active: Active, annotator: str) -> None:
        """Fetch what comes later, where little is left; for a thread of its own."""
        self._upcoming.refill(
            (active.name, str(active.version), annotator),
            lambda limit: projects.waiting(self._store, active.name, annotator, limit),
        )

    def forget(self) -> None:
        """Queues have changed, or something came back that was judged."""
        self._upcoming.forget()

    def holds(self, active: Active, assignment: str) -> bool:
        """Whether the entry is one of the project's queues, as they are now, and open."""
        return projects.open_in(self._store, active.name, assignment)

    def today(self, active: Active, annotator: str, since: datetime) -> int:
        """Judgements in the project since then, naive UTC."""
        return projects.today(self._store, active.name, annotator, since)

    def resting(self, active: Active, annotator: str) -> tuple[int, float | None]:
        """How many entries open later only, days after the same was judged in another way.

        With the seconds since 1970 at which the first of them does.
        """
        crossed = active.project.crossed
        if crossed is None or crossed.people == "others":
            return 0, None
        count, at = projects.resting(self._store, active.name, annotator)
        return count, None if at is None else at.replace(tzinfo=UTC).timestamp()

    def progress(self, active: Active, annotator: str) -> QueueProgress | None:
        """How far an annotator's queue is; None where they have none."""
        return next(iter(projects.progress(self._store, active.name, annotator)), None)
