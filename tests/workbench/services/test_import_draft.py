"""What the import's screen counts is what comes in; what it says names keys."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.interchange import remedies
from storage.interchange.importing import run
from storage.interchange.planning import propose
from storage.store import Store
from tests.storage.builders import write
from tests.storage.interchange.further_kinds import FURTHER
from tests.storage.interchange.kinds import KINDS, Kind
from workbench.services.import_draft import count_rows

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("kind", [*KINDS[::3], *FURTHER[::3]], ids=lambda kind: kind.name)
def test_what_is_counted_beforehand_comes_in(tmp_path: Path, kind: Kind) -> None:
    plan = propose(write(tmp_path / "f.jsonl", "".join(json.dumps(r) + "\n" for r in kind.rows)))
    *_, counts = count_rows(plan, lambda: False)
    with Store.open(":memory:", runs_root=tmp_path / "runs") as store:
        report = run(store, plan)
    added = (report.prompts.added, report.responses.added, report.judgements.added)
    assert (counts.prompts, counts.responses, counts.judgements) == added
    assert counts.share == 1.0


def test_counting_stops_when_it_is_told_to(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"prompt": f"What is {n}?"}) + "\n" for n in range(3000))
    plan = propose(write(tmp_path / "f.jsonl", lines))
    assert [c.rows for c in count_rows(plan, lambda: False)][-1] == 3000
    assert list(count_rows(plan, lambda: True)) == []


def said_in_keys(sentence: str) -> str:
    return remedies.in_keys(sentence, lambda role: f"<{role}>", turn="t", rows="f", options="o")


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(str.strip))
def test_a_remedy_names_its_column_in_keys(path: str) -> None:
    sentence = said_in_keys(f"to use it: {remedies.column('winner', path)}; else leave it")
    if "{" not in path:
        assert sentence == f"to use it: <winner> on “{path}”; else leave it"


def test_a_turned_coding_is_one_key() -> None:
    sentence = f"it is open; where it is not so: {remedies.column('winner', 'label', {'0': 'b', '1': 'a'})}"
    assert said_in_keys(sentence) == "it is open; where it is not so: t on “label” turns it"
    assert said_in_keys(remedies.reverse("winner", "a b")) == "t on “a b” turns it"
    for words in (remedies.ENCODING, remedies.MOST_BAD, remedies.KIND):
        assert "--" not in said_in_keys(words)


def test_flags_are_named_in_one_place_of_the_room() -> None:
    """So that the screen can say all of them in keys."""
    found = []
    for path in (ROOT / "storage/interchange").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and path.name != "remedies.py":
                found += [f"{path.name}: {node.value}"] * bool(re.search(r"(^|\s)--[a-z]", node.value))
    assert found == []
