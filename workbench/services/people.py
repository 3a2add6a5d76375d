"""Studies of several people: packages for annotators, and stores merged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UsageError
from storage.transfer.assigning import write_package
from storage.transfer.merging import MergeReport, merge
from workbench.services.projects.project_file import ProjectFile
from workbench.services.workspace import Workspace

UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Package:
    """One annotator's file."""

    annotator: str
    path: str
    entries: int
    """Of the queue, gold questions and hidden repeats among them."""


class People:
    """The annotators of one store."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def assign(
        self, folder: Path, project: str | None = None, annotators: Sequence[str] = ()
    ) -> list[Package]:
        """Write a package for each annotator of a project, by default of the one that is followed.

        `annotators` narrows them.  Raises UsageError for a project or an annotator that there is not, a
        folder that is not there, or files that are; nothing is left then.
        """
        projects = self._workspace.judging.projects
        active = projects.current()
        name = project or (active.name if active is not None else None)
        if name is None:
            raise UsageError("Name a project; “workbench project apply FILE” makes one.")
        asked, guidelines = projects.file(name), projects.guidelines(name)
        for stranger in set(annotators) - set(asked.annotators):
            raise UsageError(
                f"{stranger} is not among the annotators of {name}: {', '.join(asked.annotators)}."
            )
        chosen = [each for each in asked.annotators if not annotators or each in annotators]
        files = _files(chosen, folder)
        made: list[Package] = []
        try:
            for annotator, file in zip(chosen, files, strict=True):
                entries = write_package(
                    self._workspace.store,
                    file,
                    project=name,
                    annotator=annotator,
                    source=_for_one(asked, annotator),
                    guidelines=guidelines,
                )
                made.append(Package(annotator, str(file), entries))
        except BaseException:
            for package in made:
                Path(package.path).unlink(missing_ok=True)
            raise
        return made

    def merge(self, paths: Sequence[Path]) -> list[MergeReport]:
        """Take in other stores, one after the other.  Raises as `merging.merge`; those before stay merged."""
        return [merge(self._workspace.store, path) for path in paths]


def _for_one(project: ProjectFile, annotator: str) -> str:
    """The project's text as one annotator may see it: without others, known answers, and what is repeated."""
    import tomli_w

    values: dict[str, object] = {
        "name": project.name,
        "annotators": [annotator],
        "mode": project.mode,
        "criterion": project.criterion,
        "responses": project.responses,
        "reveal": "never",
    }
    if project.crossed is not None:
        values["crossed"] = {"way": project.crossed.way}
    if project.criteria:
        values["criteria"] = {name: list(words) for name, words in project.criteria.items()}
    return tomli_w.dumps(values)


def _files(names: Sequence[str], folder: Path) -> list[Path]:
    """A new file for each name."""
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder} to write the packages to.")
    files = [folder / f"{UNSAFE.sub('-', name).strip('-.') or 'annotator'}.duckdb" for name in names]
    for number, file in enumerate(files):
        if file in files[:number]:
            raise UsageError(f"Two annotators would both get {file}; rename one of them.")
        if file.exists():
            raise UsageError(f"{file} is there already; give another folder, or remove it.")
    return files
