"""Judgements are append-only; what is next, how fast, and what undo and edit do."""

from __future__ import annotations

from datetime import datetime

import pytest

from storage import judgements
from storage.errors import NotFoundError
from storage.records import CandidatePair, JudgedItem, NewJudgement
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge

LONG_AGO = datetime(2000, 1, 1)


def test_the_next_prompt_has_two_different_responses_and_is_new_to_the_annotator(store: Store) -> None:
    lonely, same, open_ = (add_prompt(store, text) for text in ("lonely", "same", "open"))
    add_responses(store, lonely, "one")
    add_responses(store, same, "one")
    add_responses(store, same, "one", policy="other")
    a, b = add_responses(store, open_, "one", "two")
    assert judgements.prompts_to_rank(store, "ana", limit=None) == [open_]
    judge(store, open_, {a: 1, b: 2})
    assert judgements.prompts_to_rank(store, "ana") == []
    assert judgements.prompts_to_rank(store, "ana", "brevity") == [open_]
    assert judgements.prompts_to_rank(store, "ben") == [open_]
    assert judgements.prompts_to_rank(store, "ben", exclude=[open_]) == []
    add_responses(store, open_, "three")
    assert judgements.prompts_to_rank(store, "ana") == [open_]
    seen = {c.text: c.seen for c in judgements.candidates(store, open_, "ana")}
    assert seen == {"one": True, "two": True, "three": False}


def test_a_seed_gives_an_order_and_the_same_one_again(store: Store) -> None:
    prompts = [add_prompt(store, str(n)) for n in range(20)]
    for prompt in prompts:
        add_responses(store, prompt, "one", "two")
    in_order = judgements.prompts_to_rank(store, "ana", limit=None)
    mixed = judgements.prompts_to_rank(store, "ana", seed=3, limit=None)
    assert in_order == prompts
    assert mixed != prompts
    assert sorted(mixed) == sorted(prompts)
    assert mixed == judgements.prompts_to_rank(store, "ana", seed=3, limit=None)
    assert mixed != judgements.prompts_to_rank(store, "ana", seed=4, limit=None)


def test_a_skip_is_passed_over_and_is_no_judgement(store: Store) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    skip = NewJudgement(prompt, "ana", "skip", (JudgedItem(a), JudgedItem(b)), reason="both unreadable")
    judgements.record(store, skip)
    assert judgements.prompts_to_rank(store, "ana") == []
    assert judgements.pairs_to_judge(store, "ana") == []
    assert store.rows("SELECT * FROM current_judgements") == []
    last = judgements.last_standing(store, "ana")
    assert last is not None
    assert (last.kind, last.reason) == ("skip", "both unreadable")


def test_pairs_are_asked_once(store: Store) -> None:
    prompt = add_prompt(store)
    a, b, c = sorted(add_responses(store, prompt, "one", "two", "three"))
    assert judgements.count_pairs(store, "ana") == 3
    verdict = (JudgedItem(b, 1, None, 0), JudgedItem(a, 1, None, 1))
    judgements.record(store, NewJudgement(prompt, "ana", "pair", verdict))
    left = judgements.pairs_to_judge(store, "ana", limit=None)
    assert left == [CandidatePair(prompt, a, c), CandidatePair(prompt, b, c)]
    judge(store, prompt, {a: 1, b: 2, c: 3})
    assert judgements.count_pairs(store, "ana") == 0


def test_undo_takes_back_one_after_another_and_keeps_every_row(store: Store) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    first = judge(store, prompt, {a: 1, b: 2})
    second = judge(store, prompt, {a: 2, b: 1}, note="on reflection", supersedes=first)
    assert store.rows("SELECT judgement_id FROM current_judgements") == [(second,)]
    last = judgements.last_standing(store, "ana")
    assert last is not None
    assert (last.judgement_id, last.note) == (second, "on reflection")
    assert [(i.response_id, i.rank, i.position) for i in last.items] == [(a, 2, 0), (b, 1, 1)]
    judgements.retract(store, second)
    assert judgements.last_standing(store, "ana") is None
    assert store.rows("SELECT * FROM preference_pairs") == []
    assert judgements.prompts_to_rank(store, "ana") == [prompt]
    assert store.rows("SELECT kind FROM judgements ORDER BY rowid") == [
        ("ranking",),
        ("ranking",),
        ("retraction",),
    ]


def test_pace_counts_what_stands(store: Store) -> None:
    prompts = [add_prompt(store, str(n)) for n in range(3)]
    responses = [add_responses(store, prompt, "one", "two") for prompt in prompts]
    judge(store, prompts[0], {responses[0][0]: 1, responses[0][1]: 1}, seconds=10.0)
    wrong = judge(store, prompts[1], {responses[1][0]: 1, responses[1][1]: 2}, seconds=20.0)
    pace = judgements.pace(store, "ana", since=LONG_AGO)
    assert (pace.done, pace.remaining, pace.today, pace.per_hour) == (2, 1, 2, 240.0)
    judgements.retract(store, wrong)
    pace = judgements.pace(store, "ana", since=datetime(2100, 1, 1))
    assert (pace.done, pace.remaining, pace.today, pace.per_hour) == (1, 2, 0, 360.0)
    assert judgements.pace(store, "ana", mode="pair", since=LONG_AGO).per_hour is None


def test_annotators_are_of_the_kind_that_their_name_says(store: Store) -> None:
    for name in ("ana", "rule:concise", "ai:judge"):
        judgements.ensure_annotator(store, name)
        judgements.ensure_annotator(store, name)
    assert sorted(judgements.annotators(store)) == [
        ("ai:judge", "ai"),
        ("ana", "human"),
        ("rule:concise", "rule"),
    ]


def test_many_are_recorded_or_none(store: Store) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    good = NewJudgement(prompt, "rule:short", "ranking", (JudgedItem(a, 1), JudgedItem(b, 2)))
    twice = NewJudgement(prompt, "rule:short", "ranking", (JudgedItem(a, 1), JudgedItem(a, 2)))
    with pytest.raises(Exception, match="duplicate key"):
        judgements.record_many(store, [good, twice])
    assert store.rows("SELECT * FROM judgements") == []
    assert len(judgements.record_many(store, [good, good])) == 2


def test_a_rule_records_thousands_at_once(store: Store) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    verdict = (JudgedItem(a, 1, None, 0), JudgedItem(b, 2, None, 1))
    ids = judgements.record_many(store, [NewJudgement(prompt, "rule:short", "ranking", verdict)] * 3000)
    assert len(set(ids)) == 3000
    assert judgements.get(store, ids[-1]).items == verdict
    assert store.rows("SELECT count(*) FROM preference_pairs WHERE annotator_kind = 'rule'") == [(3000,)]


def test_an_unknown_judgement_is_told(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no judgement j0"):
        judgements.retract(store, "j0")
