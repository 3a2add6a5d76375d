"""Everything that a person may read, for review: `python -m tests.sentences` lists it, file by file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engine", "storage", "workbench")


class Sentence(NamedTuple):
    """A text of several words in the program; what is put into it stands in braces."""

    place: str  # file:line
    text: str


@cache
def sentences() -> tuple[Sentence, ...]:
    """Texts of two words or more that are no docstrings, in the order of files and lines."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple(sentence for path in paths for sentence in _of(path))


def _of(path: Path) -> Iterator[Sentence]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for part in ast.walk(node)
        if part is not node
    }
    found = []
    for node in ast.walk(tree):
        text = _text(node)
        if text is not None and id(node) not in inside and len(text.split()) > 1:
            found.append((node.lineno, text))  # type: ignore[attr-defined]
    for line, text in sorted(found):
        yield Sentence(f"{path.relative_to(ROOT)}:{line}", text)


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"  # type: ignore[attr-defined]
            for part in node.values
        )
    return None


def main() -> None:
    """Print them."""
    file = ""
    for place, text in sentences():
        path, _, line = place.partition(":")
        if path != file:
            print(f"\n{path}")
            file = path
        printable = " ".join(text.split()).encode("utf-8", "backslashreplace").decode()  # lone surrogates too
        print(f"{line:>5}  {printable}")


if __name__ == "__main__":
    main()
