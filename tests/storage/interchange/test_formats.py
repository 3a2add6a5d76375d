"""What leaves in the formats of other tools comes back, and what a format cannot say is told."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import prompts, responses
from storage.interchange.clean import clean_text
from storage.interchange.formats.format import reading
from storage.interchange.formats.leaving import Leaving
from storage.interchange.formats.rated import columns_of, criteria
from storage.interchange.formats.registry import BY_NAME
from storage.interchange.formats.writing import Exported, export_as
from storage.interchange.importing import import_file
from storage.interchange.mapping.language import parse_statement
from storage.judgements import record
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge

PAIRS = """
SELECT q.prompt_id, w.text, wp.name, l.text, lp.name, q.annotator, q.criterion
FROM preference_pairs q
JOIN responses w ON w.response_id = q.winner_id JOIN policies wp ON wp.policy_id = w.policy_id
JOIN responses l ON l.response_id = q.loser_id JOIN policies lp ON lp.policy_id = l.policy_id
"""
TIES = "SELECT prompt_id, response_a, response_b, annotator, criterion FROM preference_ties"
RATINGS = """
SELECT j.prompt_id, i.response_id, j.annotator, j.criterion, i.rating
FROM current_judgements j JOIN judgement_items i USING (judgement_id) WHERE i.rating IS NOT NULL
"""
ABOUT = "SELECT prompt_id, external_id, reference, source, split, subset FROM prompts"
STEPS = """
SELECT r.prompt_id, r.text, y.name, s.step, s.text, s.label
FROM response_steps s JOIN responses r USING (response_id) JOIN policies y USING (policy_id)
"""
SAY_PAIRS = ("trl-conversational", "trl-implicit", "arena")
SAY_RATINGS = ("ultrafeedback", "helpsteer")
NESTED_FILES = ("jsonl", "json", "csv", "tsv", "parquet")

plain_text = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf")), min_size=1, max_size=12).filter(
    lambda t: bool(t.strip())
)
odd = st.sampled_from(
    [
        '[{"role":"user","content":"x"}]',
        "=1+1",
        '"',
        ",;\t",
        "a\nb",
        "{}",
        "[1]",
        "\\N",
        "Human: a",
        "'=x",
        "@me",
    ]
)
words = st.one_of(plain_text.map(lambda t: "w" + clean_text(t)), odd)
people = st.sampled_from(["ana", "bo", "annotator 7"])
names = st.sampled_from(["overall", "helpfulness", "prompt", "prompt_rating"])
turns = st.lists(words, min_size=1, max_size=3).filter(lambda t: len(t) != 2)


def fill_pairs(store: Store, rows: list[Any]) -> None:
    for asked, better, worse, person, criterion, tied in rows:
        chat = [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(asked)]
        prompt = prompts.add(store, chat, source="here")
        a, b = responses.add(store, prompt, "one", better), responses.add(store, prompt, "two", worse)
        items = (JudgedItem(a, 1), JudgedItem(b, 1 if tied else 2))
        record(store, NewJudgement(prompt, person, "pair", items, criterion=criterion))


def fill_ratings(store: Store, rows: list[Any]) -> None:
    for asked, texts, ratings, person, criterion in rows:
        prompt = prompts.add(store, [{"role": "user", "content": asked}])
        ids = [responses.add(store, prompt, f"p{n}", text) for n, text in enumerate(texts)]
        items = tuple(JudgedItem(r, None, rating) for r, rating in zip(ids, ratings, strict=False))
        record(store, NewJudgement(prompt, person, "rating", items, criterion=criterion))


def passed_on(one: Store, two: Store, name: str, ending: str) -> Exported:
    """Export and import, with the statements that the format gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"data.{ending}"
        done = export_as(one, BY_NAME[name].what, path, name)
        said = reading(BY_NAME[name], BY_NAME[name].columns(Leaving(one)))
        if name == "helpsteer":
            said += [f"criterion.{c}={column}" for c, column in columns_of(criteria(Leaving(one))).items()]
        if done.rows:
            import_file(two, path, columns=[parse_statement(text) for text in said], strict=True)
    return done


def seen(store: Store, sql: str) -> set[tuple[Any, ...]]:
    return set(store.rows(sql))


pair_rows = st.lists(st.tuples(turns, words, words, people, names, st.booleans()), max_size=3)
rated_rows = st.lists(
    st.tuples(
        plain_text.map(clean_text).filter(str.strip),
        st.lists(plain_text.map(lambda t: "w" + clean_text(t)), min_size=2, max_size=3, unique=True),
        st.lists(st.integers(-3, 10).map(float), min_size=3, max_size=3),
        people,
        names,
    ),
    max_size=3,
    unique_by=lambda row: (row[0], row[3], row[4]),
)


@settings(max_examples=5, deadline=None)
@given(
    rows=pair_rows,
    first=st.sampled_from(SAY_PAIRS),
    second=st.sampled_from(SAY_PAIRS),
    endings=st.tuples(*[st.sampled_from(NESTED_FILES)] * 2),
)
def test_pairs_go_through_every_pair_of_formats(
    rows: list[Any], first: str, second: str, endings: tuple[str, str]
) -> None:
    with Store.open(":memory:") as one, Store.open(":memory:") as two, Store.open(":memory:") as three:
        fill_pairs(one, rows)
        passed_on(one, two, first, endings[0])
        passed_on(two, three, second, endings[1])
        assert seen(two, PAIRS) == seen(three, PAIRS) == seen(one, PAIRS)
        ties = seen(one, "SELECT prompt_id, annotator, criterion FROM preference_ties")
        through = seen(three, "SELECT prompt_id, annotator, criterion FROM preference_ties")
        assert through == (ties if first == second == "arena" else set())


@settings(max_examples=4, deadline=None)
@given(rows=pair_rows, ending=st.sampled_from(NESTED_FILES))
def test_standard_pairs_come_back_and_the_others_are_counted(rows: list[Any], ending: str) -> None:
    with Store.open(":memory:") as one, Store.open(":memory:") as two:
        fill_pairs(one, rows)
        done = passed_on(one, two, "trl-preference", ending)
        several = seen(one, "SELECT prompt_id FROM prompts WHERE json_array_length(messages) > 1")
        expected = {row for row in seen(one, PAIRS) if (row[0],) not in several}
        assert seen(two, PAIRS) == expected
        assert (
            done.rows + sum(done.left_out.values())
            == one.rows(
                "SELECT (SELECT count(*) FROM preference_pairs) + (SELECT count(*) FROM preference_ties)"
            )[0][0]
        )


@settings(max_examples=5, deadline=None)
@given(
    rows=rated_rows,
    first=st.sampled_from(SAY_RATINGS),
    second=st.sampled_from(SAY_RATINGS),
    endings=st.tuples(*[st.sampled_from(NESTED_FILES)] * 2),
)
def test_ratings_go_through_every_pair_of_formats(
    rows: list[Any], first: str, second: str, endings: tuple[str, str]
) -> None:
    with Store.open(":memory:") as one, Store.open(":memory:") as two, Store.open(":memory:") as three:
        fill_ratings(one, rows)
        policies = "SELECT DISTINCT r.text, y.name FROM responses r JOIN policies y USING (policy_id)"
        passed_on(one, two, first, endings[0])
        passed_on(two, three, second, endings[1])
        kept = _told(one, RATINGS)
        assert _told(two, RATINGS) == _told(three, RATINGS) == kept
        assert seen(three, policies) <= seen(one, policies)


def _told(store: Store, sql: str) -> set[tuple[Any, ...]]:
    """Ratings, with the texts in place of the ids."""
    texts = dict(store.rows("SELECT response_id, text FROM responses"))
    return {(prompt, texts[response], *rest) for prompt, response, *rest in store.rows(sql)}


@pytest.mark.parametrize("ending", NESTED_FILES)
def test_prompts_come_back_with_what_is_known_of_them(tmp_path: Path, ending: str) -> None:
    rows = [
        {
            "prompt": "one\ntwo",
            "id": "q1",
            "reference": "4",
            "split": "test",
            "subset": "math",
            "source": "x",
        },
        {"prompt": [{"role": "system", "content": "Short."}, {"role": "user", "content": "=1"}], "id": "q2"},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Store.open(":memory:") as one, Store.open(":memory:") as two:
        import_file(one, path)
        assert passed_on(one, two, "trl-prompts", ending) == Exported(2, {})
        ids = "SELECT prompt_id, messages::VARCHAR, external_id, reference, split, subset FROM prompts"
        assert seen(two, ids) == seen(one, ids)
        assert len(seen(two, ids)) == 2


@pytest.mark.parametrize("ending", NESTED_FILES)
def test_labels_and_steps_come_back(tmp_path: Path, ending: str) -> None:
    labels = [{"prompt": "p", "completion": f"c{n}", "label": n == 1, "annotator": "bo"} for n in range(3)]
    steps = [
        {"prompt": "sum", "completions": ["a b", "c"], "labels": [True, False]},
        {"prompt": "sum", "completions": ["d", "e"], "labels": [0.5, 1]},
    ]
    with Store.open(":memory:") as one, Store.open(":memory:") as two:
        for name, rows in (("l.jsonl", labels), ("s.jsonl", steps)):
            (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        import_file(one, tmp_path / "l.jsonl")
        import_file(
            one,
            tmp_path / "s.jsonl",
            columns={"prompt": "prompt", "steps": "completions", "step_labels": "labels"},
        )
        assert passed_on(one, two, "trl-unpaired", ending) == Exported(3, {})
        done = passed_on(one, two, "trl-stepwise", ending)
        assert (done.rows, sum(done.left_out.values())) == (1, 1)
        assert _told(two, RATINGS) == _told(one, RATINGS)
        assert seen(two, STEPS) == {row for row in seen(one, STEPS) if row[1] == "a b\nc"}


def test_the_best_and_the_worst_of_a_ranking_are_good_and_bad(store: Store, tmp_path: Path) -> None:
    prompt = add_prompt(store)
    a, b, c = add_responses(store, prompt, "best", "middle", "worst")
    judge(store, prompt, {a: 1, b: 2, c: 3})
    done = export_as(store, "responses", tmp_path / "u.jsonl", "trl-unpaired")
    rows = [json.loads(line) for line in (tmp_path / "u.jsonl").read_text().splitlines()]
    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [
        ("best", True),
        ("worst", False),
    ]
    assert list(done.left_out.values()) == [1]


@settings(max_examples=4, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            plain_text.map(lambda t: "ask " + clean_text(t)),
            st.lists(plain_text.map(lambda t: "say " + clean_text(t)), min_size=2, max_size=4, unique=True),
            st.randoms(use_true_random=False),
            people,
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda row: row[0],
    ),
    name=st.sampled_from(["argilla", "labelstudio"]),
)
def test_rankings_come_back_from_annotation_tools(rows: list[Any], name: str) -> None:
    """Who ranked becomes what the tool calls people, one for one."""
    with Store.open(":memory:") as one, Store.open(":memory:") as two:
        for asked, texts, random, person in rows:
            prompt = add_prompt(one, asked)
            ids = add_responses(one, prompt, *texts)
            ranks = list(range(1, len(ids) + 1))
            random.shuffle(ranks)
            judge(one, prompt, dict(zip(ids, ranks, strict=True)), annotator=person)
        assert passed_on(one, two, name, "json") == Exported(len(rows), {})
        assert _orders(two) == _orders(one)
        assert two.rows("SELECT count(*) FROM annotators") == one.rows("SELECT count(*) FROM annotators")


def _orders(store: Store) -> set[tuple[str, tuple[str, ...]]]:
    rows = store.rows(
        "SELECT p.text, list(r.text ORDER BY k.rank) FROM rankings k JOIN responses r USING (response_id)"
        " JOIN prompts p ON p.prompt_id = k.prompt_id GROUP BY k.judgement_id, p.text"
    )
    return {(asked, tuple(order)) for asked, order in rows}


def test_what_annotation_tools_cannot_say_is_counted(store: Store, tmp_path: Path) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    judge(store, prompt, {a: 1, b: 1})
    judge(store, prompt, {a: 1, b: 2}, criterion="tone")
    for name in ("argilla", "labelstudio"):
        done = export_as(store, "responses", tmp_path / f"{name}.json", name)
        assert (done.rows, sum(done.left_out.values())) == (1, 2)
