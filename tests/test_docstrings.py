"""Whoever asks for help on a public name gets an answer."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engine", "storage", "workbench")
SHARE = 0.95
EXPLAINED = ("engine/objectives", "engine/models", "engine/scoring", "storage")
"""Rooms whose functions others build upon: shapes, units and errors stand there."""
HOOKS = re.compile(
    r"compose(_body)?|on_[a-z_]+|(watch|validate|compute)_[a-z_]+|render(_line|_lines)?|check_action"
    r"|get_(ticks|content_width|content_height)"
)
"""What Textual calls by its name, and explains."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Public(NamedTuple):
    """A public name, and whether it has a docstring."""

    kind: str  # function, class, method
    place: str
    explained: bool


def public_names(sources: dict[str, str]) -> list[Public]:
    """Functions, classes and methods of some files, by path.

    An override says what the method that it overrides says, and a hook what Textual says of it: neither
    counts. (In the house each class name stands once, so that bases are found by name.)
    """
    trees = {path: ast.parse(text) for path, text in sources.items()}
    classes = {
        node.name: node
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    return [name for path, tree in trees.items() for name in _names(path, "", tree.body, None, classes)]


def _names(
    path: str, owner: str, body: list[ast.stmt], within: ast.ClassDef | None, classes: dict[str, ast.ClassDef]
) -> Iterator[Public]:
    for node in body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        place = f"{path}:{node.lineno} {owner}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield Public("class", place, ast.get_docstring(node) is not None)
            yield from _names(path, f"{owner}{node.name}.", node.body, node, classes)
        elif within is None:
            yield Public("function", place, ast.get_docstring(node) is not None)
        elif not (HOOKS.fullmatch(node.name) or _overrides(within, node.name, classes)):
            yield Public("method", place, ast.get_docstring(node) is not None)


def _overrides(child: ast.ClassDef, method: str, classes: dict[str, ast.ClassDef]) -> bool:
    names = [ast.unparse(base).split("[")[0].split(".")[-1] for base in child.bases]
    bases = [classes[name] for name in names if name in classes and classes[name] is not child]
    return any(
        any(isinstance(node, Function) and node.name == method for node in base.body)
        or _overrides(base, method, classes)
        for base in bases
    )


@pytest.fixture(scope="module")
def house() -> list[Public]:
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return public_names({str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files})


def too_few(names: list[Public]) -> str:
    """What is missing where fewer than SHARE have a docstring; else empty."""
    missing = [name.place for name in names if not name.explained]
    if len(names) - len(missing) >= SHARE * len(names):
        return ""
    return f"{len(missing)} of {len(names)} have no docstring:\n" + "\n".join(missing)


def test_public_names_are_explained(house: list[Public]) -> None:
    by_kind = defaultdict(list)
    for name in house:
        by_kind[name.kind].append(name)
    assert set(by_kind) == {"function", "class", "method"}
    assert {kind: said for kind, names in by_kind.items() if (said := too_few(names))} == {}


@pytest.mark.parametrize("room", EXPLAINED)
def test_rooms_that_others_build_upon_are_explained(room: str, house: list[Public]) -> None:
    names = [name for name in house if name.place.startswith(room)]
    assert len(names) > 20
    assert too_few(names) == ""


def test_what_counts() -> None:
    names = public_names(
        {
            "a.py": 'def told():\n    "Said."\ndef silent(): ...\ndef _own(): ...\n',
            "b.py": 'class Base:\n    "Said."\n    def act(self): ...\n'
            "class Child(Base):\n    def act(self): ...\n"
            "    def compose(self): ...\n    def more(self): ...\n",
        }
    )
    assert [(name.kind, name.place.split(" ")[1], name.explained) for name in names] == [
        ("function", "told", True),
        ("function", "silent", False),
        ("class", "Base", True),
        ("method", "Base.act", False),
        ("class", "Child", False),
        ("method", "Child.more", False),
    ]
    assert too_few(names).startswith("4 of 6 have no docstring:\na.py:3 silent")
    assert too_few(names[:1]) == ""
