"""Whole columns and one row at a time give the same store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import ImportFileError
from storage.import_records import ImportReport
from storage.interchange import importing
from storage.interchange.columns.batches import batches
from storage.interchange.columns.taking import ColumnTaker
from storage.interchange.planning import propose
from storage.store import Store

TABLES = {
    "prompts": "* EXCLUDE (created_at)",
    "responses": "* EXCLUDE (created_at)",
    "judgements": "* EXCLUDE (created_at)",
    "judgement_items": "*",
    "policies": "policy_id, name",
    "annotators": "annotator_id, name, kind",
    "imports": "* EXCLUDE (import_id, imported_at)",
}
# Beside ordinary words what makes a reader think: markers, brackets, controls, spaces, line ends, emptiness.
ODD_TEXTS = [
    "",
    " ",
    "\u00a0",
    "[1, 2]",
    '[{"role": "user", "content": "hi"}]',
    '{"a": 1}',
    "Human: why?\n\nAssistant: because",
    "\n\nHuman: why?\n\nAssistant: because",
    "How long is it?",
    "User: x",
    "What <extra_id_1>Assistant",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho<|im_end|>",
    "line\r\nend\rof",
    "bell\x07 \x1b[31m",
    "\x00[x]",
    "\x85\u202eright",
    'quoted "text" \\ and / more\t\n',
    "naïve 😀 \u2028 end",
    "\u200b",
    "\ud800 half",
    "n/a",
]
TEXT = st.one_of(st.sampled_from(["yes", "no", "why is the sky blue", "a b c"]), st.sampled_from(ODD_TEXTS))
OTHER = st.sampled_from([None, 3, 2.5, True, [], {}, ["x"], {"text": "inner"}, float("nan")])
PROMPT = st.one_of(TEXT, TEXT, TEXT, OTHER)
NAME = st.sampled_from([None, "gpt", "gpt\x07", "", "n/a", 4, 4.0, 2.5, True, ["a", "b"], "zephyr"])
NUMBER = st.sampled_from([None, 1, 2, 3.5, "4", "1,5", "n/a", "", "many", True, float("nan")])
MORE = st.sampled_from([None, "", [], {}, "kept", {"deep": ["\x07", None]}, 7])


ABSENT = "absent"
SELDOM_ABSENT = st.sampled_from([False] * 9 + [True])


def rows(**columns: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows with these columns, of which a few are missing here and there."""
    cells = {
        name: st.tuples(SELDOM_ABSENT, values).map(lambda cell: ABSENT if cell[0] else cell[1])
        for name, values in columns.items()
    }
    whole = st.fixed_dictionaries(cells)
    return st.lists(
        whole.map(lambda row: {k: v for k, v in row.items() if v is not ABSENT}), min_size=6, max_size=25
    )


LAYOUTS: dict[str, tuple[dict[str, str], st.SearchStrategy[list[dict[str, Any]]]]] = {
    "pairs": (
        {
            "prompt": "prompt",
            "chosen": "chosen",
            "rejected": "rejected",
            "chosen_policy": "m",
            "policy": "n",
            "chosen_rating": "s",
            "annotator": "who",
            "strength": "much",
            "id": "id",
            "source": "src",
        },
        rows(
            prompt=PROMPT,
            chosen=PROMPT,
            rejected=PROMPT,
            m=NAME,
            n=NAME,
            s=NUMBER,
            who=NAME,
            much=NUMBER,
            id=NAME,
            src=NAME,
            x=MORE,
        ),
    ),
    "annotated_pairs": (
        {
            "prompt": "prompt",
            "response_a": "one",
            "response_b": "two",
            "policy_a": "m",
            "policy_b": "n",
            "winner": "win{a:a, b:b, tie:tie, both bad:bad, A>>B:a, skip:skip, 1:b}",
            "rating_a": "s",
            "note": "why",
            "split": "part",
        },
        rows(
            prompt=PROMPT,
            one=PROMPT,
            two=PROMPT,
            m=NAME,
            n=NAME,
            win=st.sampled_from(["a", "b", "tie", "both bad", "A>>B", "skip", None, "gpt", "?", 1, "never"]),
            s=NUMBER,
            why=NAME,
            part=NAME,
            x=MORE,
        ),
    ),
    "outcomes": (
        {
            "prompt": "prompt",
            "response_a": "one",
            "response_b": "two",
            "won_a": "wa",
            "won_b": "wb",
            "won_tie": "wt",
        },
        rows(
            prompt=PROMPT,
            one=TEXT,
            two=TEXT,
            **dict.fromkeys(("wa", "wb", "wt"), st.sampled_from([0, 1, 0.25, True, "1", None, "x"])),
            x=MORE,
        ),
    ),
    "ranked": (
        {
            "prompt": "prompt",
            "response": "answer",
            "policy": "m",
            "rank": "place",
            "rating": "stars",
            "criterion.kind": "kindness",
            "annotator": "who",
            "seconds": "took",
            "group": "g",
        },
        rows(
            prompt=PROMPT,
            answer=PROMPT,
            m=NAME,
            place=NUMBER,
            stars=NUMBER,
            kindness=NUMBER,
            who=NAME,
            took=NUMBER,
            g=NAME,
            x=MORE,
        ),
    ),
    "labels": (
        {"prompt": "prompt", "response": "answer", "label": "good"},
        rows(
            prompt=PROMPT,
            answer=TEXT,
            good=st.sampled_from([True, False, "yes", "bad", 1, 0, None, "", "perhaps"]),
            x=MORE,
        ),
    ),
    "responses": (
        {"prompt": "prompt", "response": "answer", "policy": "m", "reference": "ref", "subset": "sub"},
        rows(prompt=PROMPT, answer=PROMPT, m=NAME, ref=NAME, sub=NAME, x=MORE),
    ),
    "prompts": ({"prompt": "prompt", "id": "id"}, rows(prompt=PROMPT, id=NAME, x=MORE)),
}


@pytest.fixture(scope="module")
def kept_store() -> Iterator[Store]:
    """Emptied before each import, because making one takes longer than the import."""
    with Store.open(":memory:") as store:
        yield store


def imported(store: Store, path: Path, worth: int, mapping: dict[str, str], kind: str) -> tuple[Any, ...]:
    """All rows of the store, prompts in their order, and the report; or the sentence of the refusal."""
    for name in TABLES:
        store.write(f"DELETE FROM {name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "WORTH", worth)
        try:
            report = importing.import_file(store, path, columns=mapping, shape=kind, most_bad=1.0)
        except ImportFileError as error:
            return (str(error),)
    found = {}
    for name, columns in TABLES.items():
        order = "ORDER BY rowid" if name == "prompts" else "ORDER BY ALL"
        found[name] = store.rows(f"SELECT {columns} FROM {name} {order}")
    return found, _plain(report)


def _plain(report: ImportReport) -> tuple[Any, ...]:
    return (
        report.rows,
        report.prompts,
        report.responses,
        report.judgements,
        report.skipped,
        report.left_out,
        report.columns,
        report.notes,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_columns_and_rows_give_the_same_store(
    tmp_path: Path, kept_store: Store, layout: str, data: st.DataObject
) -> None:
    mapping, drawn = LAYOUTS[layout]
    told = data.draw(drawn)
    told.insert(0, {path.partition("{")[0]: None for path in mapping.values()} | {"prompt": "the first"})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in told))
    kind = {"outcomes": "annotated_pairs", "labels": "ranked"}.get(layout, layout)
    assert imported(kept_store, path, 1, mapping, kind) == imported(kept_store, path, 10**9, mapping, kind)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ordinary_rows_go_as_columns(tmp_path: Path, layout: str) -> None:
    """Else the test above would compare the row path with itself."""
    mapping, _ = LAYOUTS[layout]
    row: dict[str, Any] = {path.partition("{")[0]: "1" for path in mapping.values()}
    ordinary = {"win": "a", "answer": "long", "good": True, "wb": "0", "wt": "0"}
    row |= {name: value for name, value in ordinary.items() if name in row} | {"extra": {"a": 1}}
    first = mapping.get("chosen") or mapping.get("response_a") or "extra"
    told = [row | {"prompt": f"How long? {n}", first: "x"} for n in range(5)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in told))
    kind = {"outcomes": "annotated_pairs", "labels": "ranked"}.get(layout, layout)
    plan = propose(path, kind=kind, columns=importing.statements(mapping))
    taker = plan.taker()
    assert ColumnTaker.can(taker)
    [batch] = batches(plan.source)
    table, rest = ColumnTaker(taker, "x").take(batch)
    assert (table.num_rows, rest) == (5, [])


def test_parquet_and_lines_give_the_same_store(tmp_path: Path, kept_store: Store) -> None:
    """Arrow's own columns: texts large and in dictionaries, nested objects, nulls."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    told = [
        {
            "prompt": f"p{n % 7}",
            "chosen": f"c{n}" if n % 5 else None,
            "rejected": "no\r\n" * (n % 3),
            "m": f"m{n % 2}",
            "x": {"a": [n]},
        }
        for n in range(40)
    ]
    lines, parquet = tmp_path / "rows.jsonl", tmp_path / "rows.parquet"
    lines.write_text("".join(json.dumps(row) + "\n" for row in told))
    table = pa.Table.from_pylist(told)
    table = table.set_column(1, "chosen", table["chosen"].cast(pa.large_string()))
    table = table.set_column(3, "m", table["m"].dictionary_encode())
    pq.write_table(table, parquet)
    mapping = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "policy": "m"}
    for worth in (1, 10**9):
        found = [imported(kept_store, path, worth, mapping, "pairs")[0] for path in (lines, parquet)]
        for tables in found:
            del tables["imports"]
        assert str(found[0]).replace("rows.jsonl", "rows.parquet") == str(found[1])
