"""Projects on a real store: queues, versions, gold, repeats, progress, and what a file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from storage import judgements, policies, prompts
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from workbench.services.ranking.judging import Judging, RankItem

FILE = """
name = "study"
annotators = ["ada", "bert"]
overlap = 2
seed = 3
repeats = 0.5
repeat_after = 1
"""


def filled(path: Path, count: int = 4) -> Store:
    store = Store.open(path / "study.duckdb")
    policy = policies.ensure(store, "one")
    ids = prompts.add_many(
        store, [[{"role": "user", "content": f"q{n}"}] for n in range(count)], source="first"
    )
    add_responses(store, policy, ids)
    return store


def add_responses(store: Store, policy: str, ids: list[str], each: int = 3) -> None:
    store.write(
        "INSERT INTO responses (response_id, prompt_id, policy_id, sample_index, text) "
        "SELECT p || k, p, $policy, k, 'answer ' || k FROM (SELECT unnest($ids) AS p), range($each) t(k)",
        {"policy": policy, "ids": ids, "each": each},
    )


def write(path: Path, text: str) -> Path:
    file = path / "project.toml"
    file.write_text(text, encoding="utf-8")
    return file


def judge(judging: Judging, who: str, *, backwards: bool = False) -> RankItem | None:
    """Rank what comes next by response id."""
    item = judging.next_item(who)
    if item is not None:
        ids = sorted((c.response_id for c in item.responses), reverse=backwards)
        judging.submit(item, who, _placed(item, ids), seconds=2.0)
    return item


def _placed(item: RankItem, ids: list[str]) -> Any:
    draft = item.draft
    for key in ids:
        draft = draft.place_next(key)
    return draft


def test_everybody_works_through_their_queue(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        judging = Judging(store)
        judging.projects.follow_file(write(tmp_path, FILE))
        seen: dict[str, list[str]] = {"ada": [], "bert": []}
        for who in seen:
            while (item := judge(judging, who)) is not None:
                seen[who].append(item.prompt_id)
            counts = (len(seen[who]), len(set(seen[who])))
            assert counts == (6, 4), "four labels and two of them again"
        overview = judging.projects.overview("study")
        assert overview.tasks == {2: 4}
        assert [(row.annotator, row.done, row.left, row.seconds) for row in overview.progress] == [
            ("ada", 6, 0, 12.0),
            ("bert", 6, 0, 12.0),
        ]
        assert [(c.annotator, c.what, c.questions, c.pairs, c.agreed) for c in overview.checks] == [
            ("ada", "repeat", 2, 6, 6),
            ("bert", "repeat", 2, 6, 6),
        ]
        pace = judging.pace("ada")
        assert (pace.project, pace.done, pace.remaining, pace.per_hour) == ("study", 6, 0, 1800.0)
        nobody = judging.pace("cleo")
        assert judging.next_item("cleo") is None
        assert (nobody.project, nobody.done) == ("study", 0)


def test_gold_questions_are_checked_against_what_is_known(tmp_path: Path) -> None:
    """One who says the contrary agrees on no pair, one who says the same on all."""
    with filled(tmp_path, 3) as store:
        judging = Judging(store)
        expert = judge(judging, "expert")
        assert expert is not None
        text = FILE.replace("0.5", "0.0") + '[gold]\nby = "expert"\n'
        applied = judging.projects.follow_file(write(tmp_path, text))
        assert (applied.gold, applied.tasks, dict(applied.new)) == (1, 2, {"ada": 3, "bert": 3})
        for who in ("ada", "bert"):
            while judge(judging, who, backwards=who == "bert") is not None:
                pass
        checks = judging.projects.overview("study").checks
        assert [(c.annotator, c.what, c.questions, c.pairs, c.agreed) for c in checks] == [
            ("ada", "gold", 1, 3, 3),
            ("bert", "gold", 1, 3, 0),
        ]


def test_the_same_file_changes_nothing_and_another_keeps_what_is_judged(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        judging = Judging(store)
        file = write(tmp_path, FILE)
        first = judging.projects.follow_file(file)
        done = judge(judging, "ada")
        assert done is not None
        queues = store.rows("FROM assignments ORDER BY ALL")
        again = judging.projects.apply_file(file)
        assert (first.changed, again.changed, sum(again.new.values())) == (True, False, 0)
        assert store.rows("FROM assignments ORDER BY ALL") == queues
        write(tmp_path, FILE.replace('"bert"', '"bert", "cleo"'))
        dry = judging.projects.apply_file(file, dry_run=True)
        assert store.rows("FROM assignments ORDER BY ALL") == queues
        changed = judging.projects.apply_file(file)
        assert dry == changed
        assert changed.version == 2
        assert judging.projects.overview("study").tasks == {0: 3, 1: 1}
        counts = dict(
            store.rows(
                "SELECT prompt_id, count(*) FROM assignments WHERE kind = 'label' GROUP BY ALL ORDER BY ALL"
            )
        )
        assert set(counts.values()) == {2}
        kept = store.rows("SELECT assignment_id FROM project_queues WHERE judged_at IS NOT NULL")
        assert kept == [(done.assignment,)]


def test_new_prompts_go_behind_what_stands(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        judging = Judging(store)
        file = write(tmp_path, FILE)
        judging.projects.follow_file(file)
        before = store.rows("SELECT assignment_id, position FROM assignments ORDER BY ALL")
        ids = prompts.add_many(store, [[{"role": "user", "content": "new"}]])
        add_responses(store, policies.ensure(store, "one"), ids)
        applied = judging.projects.apply_file(file)
        assert (applied.changed, applied.dropped) == (False, 0)
        assert sum(applied.new.values()) >= 2
        after = store.rows("SELECT assignment_id, position FROM assignments ORDER BY ALL")
        assert set(before) <= set(after)
        last = dict(store.rows("SELECT annotator, max(position) FROM project_queues GROUP BY ALL"))
        new = store.rows(
            "SELECT annotator, position FROM project_queues WHERE prompt_id = $p AND kind = 'label'",
            {"p": ids[0]},
        )
        assert {who for who, _ in new} == {"ada", "bert"}
        assert all(place > last[who] - 3 for who, place in new)


def test_undo_and_redo_give_the_entry_back_and_take_it_again(tmp_path: Path) -> None:
    """Another start of the workbench knows what was undone."""
    with filled(tmp_path) as store:
        judging = Judging(store)
        judging.projects.follow_file(write(tmp_path, FILE))
        item = judge(judging, "ada")
        assert item is not None
        assert item.assignment is not None
        taken = judging.undo("ada")
        assert taken is not None
        assert taken.assignment == item.assignment
        assert judging.pace("ada").done == 0
        assert (begun := Judging(store).resume("ada")) is not None
        assert begun.assignment == item.assignment
        again = Judging(store).redo("ada")
        assert again is not None
        assert again.assignment == item.assignment
        assert judging.pace("ada").done == 1


def test_one_order_of_the_label_queue_chooses_among_open_labels(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        *_, disputed = [row[0] for row in store.rows("SELECT prompt_id FROM prompts ORDER BY prompt_id")]
        judging = Judging(store)
        text = FILE.replace("0.5", "0.0") + 'order = "least_agreed"\n'
        judging.projects.follow_file(write(tmp_path, text))
        for annotator, better in (("cleo", "0"), ("dora", "1")):
            items = tuple(JudgedItem(disputed + k, rank=1 if k == better else 2) for k in "012")
            judgements.record(store, NewJudgement(disputed, annotator, "ranking", items))
        item = judge(judging, "ada")
        assert item is not None
        assert item.prompt_id == disputed


def test_pairs_and_ratings_by_a_project(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        judging = Judging(store)
        base = 'annotators = ["ada"]\n'
        applied = judging.projects.follow_file(
            write(tmp_path, f'name = "p"\nmode = "pair"\npairs = 2\n{base}')
        )
        assert applied.tasks == 8
        item = judging.next_item("ada")
        assert item is not None
        assert (item.mode, len(item.responses)) == ("pair", 2)
        scales = '[criteria]\nhelp = ["poor", "good"]\n'
        judging.projects.follow_file(
            write(tmp_path, f'name = "r"\nmode = "rate"\nreveal = "end"\n{base}{scales}')
        )
        assert dict(judging.criteria) == {"help": ("poor", "good")}
        assert judging.may_reveal("end")
        assert not judging.may_reveal("never")
        item = judging.next_item("ada")
        assert item is not None
        assert item.draft.criteria == ("help",)
        judging.projects.use(None)
        free = judging.next_item("ada")
        assert free is not None
        assert free.assignment is None
        assert not judging.follows(item)


def test_guidelines_are_those_of_the_version(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        judging = Judging(store)
        (tmp_path / "how.md").write_text("Prefer the shorter.", encoding="utf-8")
        file = write(tmp_path, FILE + 'guidelines = "how.md"\n')
        judging.projects.follow_file(file)
        (tmp_path / "how.md").write_text("Prefer the longer.", encoding="utf-8")
        assert judging.reading.guidelines() == "Prefer the shorter."
        assert judging.projects.apply_file(file).version == 2
        assert judging.reading.guidelines() == "Prefer the longer."
        (tmp_path / "how.md").unlink()
        edited = judging.projects.text("study").replace("overlap = 2", "overlap = 1")
        assert judging.projects.follow_text(edited).version == 3
        assert judging.reading.guidelines() == "Prefer the longer.", "an edit in the terminal needs no file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is not valid TOML"),
        ('name = "x"\nannotators = ["a"]\noverlop = 1', "unknown key “overlop”. Did you mean “overlap”?"),
        ('name = "x"\nannotators = ["a"]\n[prompts]\nsauce = "f"', "[prompts] has an unknown key “sauce”"),
        ('name = "x"', "missing required field annotators"),
        ('name = "x"\nannotators = ["a"]\noverlap = "two"', "expected int, got str at overlap"),
        ('name = "x"\nannotators = ["a"]\noverlap = 2', "overlap is 2; it must be 1 to 1"),
        ('name = "x"\nannotators = ["a", "a"]', "annotators must be different names"),
        ('name = "x"\nannotators = ["a"]\nmode = "alphabet"', "at mode"),
        ('name = "x"\nannotators = ["a"]\norder = "oldst"', "Did you mean “oldest”?"),
        ('name = "x"\nannotators = ["a"]\nrepeats = 2.0', "repeats is 2; it must be 0 to 1"),
        (
            'name = "x"\nannotators = ["a"]\npolicies = ["won"]',
            "policy “won”, which does not exist. Did you mean “one”?",
        ),
        ('name = "x"\nannotators = ["a"]\n[prompts]\nsource = "frist"', "Did you mean “first”?"),
        ('name = "x"\nannotators = ["a"]\n[prompts]\nsplit = "test"', "has nothing to label"),
        ('name = "x"\nannotators = ["a"]\n[gold]\nby = "nobody"', "“nobody” has ranked no"),
        ('name = "x"\nannotators = ["a"]\nguidelines = "no.md"', "the guidelines cannot be read"),
        ('name = "x"\nannotators = ["a"]\n[criteria]\nh = ["a", "b"]', "[criteria] are for ratings"),
        (
            'name = "x"\nannotators = ["a"]\n[gold]\nanswers = [{prompt = "p0", ranking = ["r1", "r2"]}]',
            "the gold answer to p0: r1 is not a response to it",
        ),
    ],
)
def test_what_a_file_cannot_say_is_told_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with filled(tmp_path) as store:
        with pytest.raises(UsageError) as caught:
            Judging(store).projects.apply_file(write(tmp_path, text))
        sentence = str(caught.value)
        assert said in sentence
        assert sentence.endswith((".", "?"))
        assert "\n" not in sentence
        assert store.rows("FROM projects") == []


def test_a_template_is_a_project(tmp_path: Path) -> None:
    from workbench.services.projects.project_file import write_template

    with filled(tmp_path) as store:
        judging = Judging(store)
        files = write_template(tmp_path / "own.toml", 'a "name"', "ada")
        assert judging.projects.follow_file(files[0]).name == 'a "name"'
        assert judging.reading.guidelines().startswith('# a "name"')
        with pytest.raises(UsageError, match="is there already"):
            write_template(tmp_path / "own.toml", "x", "ada")
        assert judging.projects.follow_text(judging.projects.template("ada")).name == "labels"
