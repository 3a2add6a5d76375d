"""Rooms and the import arrows between them, at a commit: how many, how thick, and whether any go round.

    python -m tests.benchmarks.arrows [COMMIT …]     the working tree, and the commits named

A room is a package two names deep (`engine.models`), or a module beside the packages (`engine.text`).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("workbench", "engine", "storage")


def files_at(commit: str | None) -> Iterator[tuple[str, str]]:
    """(path, text) of every module; without a commit, of the working tree."""
    if commit is None:
        for package in PACKAGES:
            for path in sorted((ROOT / package).rglob("*.py")):
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        return
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", commit, *PACKAGES],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.split("\n"):
        if name.endswith(".py"):
            shown = subprocess.run(
                ["git", "show", f"{commit}:{name}"], cwd=ROOT, capture_output=True, text=True, check=True
            )
            yield name, shown.stdout


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports_of(text: str) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module in PACKAGES:  # from engine import tables
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def arrows_of(commit: str | None) -> tuple[int, Counter[tuple[str, str]]]:
    """Files, and import statements by (importing room, imported room)."""
    files, arrows = 0, Counter[tuple[str, str]]()
    for name, text in files_at(commit):
        files += 1
        here = room_of(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for module in imports_of(text):
            there = room_of(module)
            if module.split(".")[0] in PACKAGES and there != here:
                arrows[here, there] += 1
    return files, arrows


def circle(arrows: Counter[tuple[str, str]]) -> str:
    """One circle among the rooms, or nothing."""
    sorter = TopologicalSorter[str]()
    for here, there in arrows:
        sorter.add(here, there)
    try:
        sorter.prepare()
    except CycleError as error:
        return " → ".join(error.args[1])
    return "none"


def main() -> None:
    for commit in [*sys.argv[1:], None]:
        files, arrows = arrows_of(commit)
        rooms = {room for arrow in arrows for room in arrow}
        both = sum(arrow[::-1] in arrows for arrow in arrows) // 2
        print(
            f"{commit or 'now'}: {files} files, {len(rooms)} rooms, {len(arrows)} arrows between them,"
            f" {sum(arrows.values())} import statements, {both} pairs of rooms that import each other;"
            f" a circle: {circle(arrows)}"
        )


if __name__ == "__main__":
    main()
