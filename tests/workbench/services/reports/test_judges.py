"""Judges in a store, with the worker of the application: endpoints, names, kills, money."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.protocol import launch
from engine.protocol.building import build
from engine.protocol.configs import GenerateConfig, JudgeConfig, RewardConfig
from engine.protocol.rundir import RunDir
from storage.measures.report_records import Figure
from storage.store import Store
from tests.engine.chat_serving import ChatFake, completion, error, ok, shorter
from tests.storage.builders import add_prompt, add_responses, judge
from tests.workbench.services.job_helpers import model_folder
from workbench.services.labels.labels_used import label_words
from workbench.services.reports.calibration import Calibrating, within
from workbench.services.reports.calibration_text import calibration_lines
from workbench.services.reports.lines import shown
from workbench.services.runs import snapshots
from workbench.services.runs.estimates import Estimating
from workbench.services.runs.jobs import Jobs


@pytest.fixture
def fake() -> Iterator[ChatFake]:
    server = ChatFake()
    yield server
    server.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.duckdb") as opened:
        for number in range(4):
            prompt = add_prompt(opened, f"Question {number}?")
            add_responses(opened, prompt, "short", "a longer one", "by far the longest of them")
        yield opened


def config(fake: ChatFake, **settings: Any) -> JudgeConfig:
    return JudgeConfig(by="endpoint", endpoint=fake.endpoint, policy="gpt-x", **settings)


def test_an_endpoint_judges_into_the_store(
    store: Store, fake: ChatFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Busy at first, paid by the token, both orders of every pair, its key nowhere to be found."""
    monkeypatch.setenv("WORKBENCH_API_KEY", "secret-of-mine")
    trouble = [error(429, "slow down", Retry_After="0"), error(500, "oops")]
    usual = fake.answer
    fake.answer = lambda asked: trouble.pop() if trouble else usual(asked)
    jobs = Jobs(store)
    run_id = jobs.submit("judge", config(fake, price_in=10.0, price_out=50.0))
    row = jobs.wait(run_id)
    assert row.status == "done", (row.reason, row.stderr_tail)
    assert row.device == "cpu"
    assert len(fake.asked) == 4 * 3 * 2 + 2
    better = store.rows(
        "SELECT DISTINCT annotator, annotator_kind, w.text, l.text FROM preference_pairs p "
        "JOIN responses w ON w.response_id = winner_id JOIN responses l ON l.response_id = loser_id"
    )
    assert len(better) == 3
    assert all(kind == "ai" and name == "ai:gpt-x" and len(w) < len(x) for name, kind, w, x in better)
    assert store.rows("SELECT count(*), bool_and(orders_agree), sum(cost) FROM judge_pairs") == [
        (12, True, pytest.approx(24 * 0.0015))
    ]
    assert row.summary["cost"] == pytest.approx(24 * 0.0015)
    folder = Path(row.run_dir or "")
    for path in [*folder.rglob("*"), folder.parent / "answers.sqlite"]:
        assert not path.is_file() or b"secret-of-mine" not in path.read_bytes()
    assert not store.rows("SELECT 1 FROM runs WHERE config::VARCHAR LIKE '%secret-of-mine%'")
    again = jobs.wait(jobs.submit("judge", config(fake)))
    assert (again.status, again.summary["asked"]) == ("done", 0)


def test_a_killed_run_goes_on_and_pays_for_nothing_twice(store: Store, fake: ChatFake) -> None:
    usual = fake.answer
    held: list[int] = []

    def slow(asked: dict[str, Any]) -> Any:
        time.sleep(0.05)
        held.append(1)
        return usual(asked)

    fake.answer = slow
    jobs = Jobs(store)
    run_id = jobs.submit("judge", config(fake, at_once=2))
    run = RunDir(Path(jobs.show(run_id).run_dir or ""))
    while len(held) < 10:
        jobs.pump()
        time.sleep(0.01)
    launch.kill(run)
    assert jobs.wait(run_id).status == "failed"
    before = len(fake.asked)
    fake.answer = usual
    jobs.resume(run_id)
    row = jobs.wait(run_id)
    assert row.status == "done", (row.reason, row.stderr_tail)
    assert store.rows("SELECT count(*) FROM judge_pairs") == [(12,)]
    # What was under way when it was killed may be asked again: two requests, and two more that had just come.
    assert 24 <= len(fake.asked) <= 24 + 4
    assert before < 24


def test_the_budget_ends_it_and_the_rest_is_told(store: Store, fake: ChatFake) -> None:
    jobs = Jobs(store)
    spend = config(fake, price_in=1e4, budget=4.5, at_once=1)  # a request costs 1
    row = jobs.wait(jobs.submit("judge", spend))
    assert row.status == "done", (row.reason, row.stderr_tail)
    assert len(fake.asked) == 5
    assert row.summary["judgements"] == 2
    told = [message.text for message in jobs.show(row.run_id).messages]
    assert any("10 pairs were left out as beyond the budget" in text for text in told)


def test_a_server_without_log_probabilities_is_asked_for_words(store: Store, fake: ChatFake) -> None:
    def refuses(asked: dict[str, Any]) -> Any:
        if "logprobs" in asked:
            return error(400, "logprobs is not supported with this model")
        return ok(completion(asked, shorter(asked["messages"][-1]["content"])))

    fake.answer = refuses
    jobs = Jobs(store)
    row = jobs.wait(jobs.submit("judge", config(fake)))
    assert row.status == "done", (row.reason, row.stderr_tail)
    assert store.rows("SELECT count(*), count(share), count(DISTINCT said) FROM judge_answers") == [
        (24, 0, 2)
    ]


def test_an_endpoint_that_refuses_everything_is_not_asked_everything(store: Store, fake: ChatFake) -> None:
    fake.answer = lambda _: error(400, "there is no model gpt-x")
    jobs = Jobs(store)
    row = jobs.wait(jobs.submit("judge", config(fake, at_once=1)))
    assert row.status == "failed"
    assert "answered 400: there is no model gpt-x" in (row.reason or "")
    assert len(fake.asked) == 20


def test_hostile_answers_are_no_verdicts(store: Store, fake: ChatFake) -> None:
    def hostile(asked: dict[str, Any]) -> Any:
        made = completion(asked, {"\x1b]52;c;eA==\x07": 0.9})
        return ok(made)

    fake.answer = hostile
    jobs = Jobs(store)
    row = jobs.wait(jobs.submit("judge", config(fake)))
    assert row.status == "failed"
    assert "None of the 12 pairs can be used: 12 as without a verdict." in (row.reason or "")
    assert (row.reason or "").isprintable()
    assert store.rows("SELECT count(*) FROM judgements") == [(0,)]


def test_one_name_is_one_judge(store: Store, fake: ChatFake, tmp_path: Path) -> None:
    rubric = tmp_path / "mine.md"
    rubric.write_text("Prefer what is short.")
    jobs = Jobs(store)
    with pytest.raises(UsageError, match="no criterion “kind”"):
        build(JudgeConfig, {"rubric": str(rubric), "criterion": "kind"})
    jobs.submit("judge", config(fake, name="j", rubric=str(rubric), limit=1))
    jobs.submit("judge", config(fake, name="j", rubric=str(rubric)))
    rubric.write_text("Prefer what is long.")
    with pytest.raises(UsageError, match="“ai:j” was another judge in judge-"):
        jobs.submit("judge", config(fake, name="j", rubric=str(rubric)))
    jobs.submit("judge", config(fake, name="k", rubric=str(rubric)))


def test_what_a_judge_is_worth_is_told_before_it_is_learned_from(store: Store, fake: ChatFake) -> None:
    jobs = Jobs(store)
    for prompt, found in store.rows(
        "SELECT prompt_id, list(response_id ORDER BY length(text)) FROM responses GROUP BY ALL"
    ):
        judge(store, prompt, {response: place for place, response in enumerate(found, 1)})
    assert jobs.wait(jobs.submit("judge", config(fake))).status == "done"
    usual, with_judges = RewardConfig(name="r"), RewardConfig(name="r", annotator_kinds=("human", "ai"))
    learned, left_out = label_words(store, usual)
    assert learned == "Learns from 4 judgements: 4 of people."
    assert left_out == "Left out: 12 of “ai:gpt-x”; annotator_kinds says whose are learned."
    learned, worth = label_words(store, with_judges)
    assert learned == "Learns from 16 judgements: 12 of models, 4 of people."
    assert worth == (
        "“ai:gpt-x” agrees with people on 100% (only 4 prompts: no interval) of 12 pairs; "
        "its two orders disagree on 0% of its own 12 pairs."
    )
    assert worth in Estimating(store).sentence(with_judges)
    (found,) = Calibrating(store).of("gpt-x")
    text = "\n".join(shown(line) for line in calibration_lines(found, 78))
    assert "people prefer one; judge: 12 0 0" in " ".join(text.split())
    with pytest.raises(UsageError, match=r"No model “ai:gpt-y” has judged\. Did you mean “ai:gpt-x”"):
        Calibrating(store).of("gpt-y")


def test_a_store_of_judges_alone_trains_nothing_by_itself(
    store: Store, fake: ChatFake, tmp_path: Path
) -> None:
    jobs = Jobs(store)
    assert jobs.wait(jobs.submit("judge", config(fake))).status == "done"
    reward = RewardConfig(name="r", policy=model_folder(tmp_path, "steps"), tuning="full")
    run = RunDir.create(tmp_path / "run", reward)
    with pytest.raises(UsageError, match=r"but those of models \(12\).* or name ai among annotator_kinds"):
        snapshots.prepare(store, run, reward)


def test_an_interval_has_a_width_or_is_not_there() -> None:
    def told(value: float, low: float, high: float, prompts: int, figure: str = "agreement") -> str:
        return within(Figure(figure, value, low, high, 3 * prompts, prompts))

    assert told(0.5, 0.4, 0.6, 30) == " (40% – 60%)"
    assert told(0.5, 0.4, 0.6, 4) == " (only 4 prompts: no interval)"
    assert told(0.5, 0.4, 0.6, 1) == " (only 1 prompt: no interval)"
    assert told(1.0, 1.0, 1.0, 30) == " (88% – 100%)"  # 0.025 ** (1 / 30)
    assert told(0.0, 0.0, 0.0, 30) == " (0% – 12%)"
    assert told(0.5, 0.5, 0.5, 30) == ""
    assert told(0.0, 0.0, 0.0, 30, "kappa") == ""


def test_responses_of_an_endpoint_come_into_the_store_to_be_judged(store: Store, fake: ChatFake) -> None:
    """Words without tokens, of a policy that nothing here can load."""
    usual = fake.answer

    def answer(asked: dict[str, Any]) -> Any:
        if "with the mark" in asked["messages"][-1]["content"]:
            return usual(asked)
        made = completion(asked, {"I": 0.9})
        made["choices"][0]["message"]["content"] = f"I say {asked['seed']}."
        return ok(made)

    fake.answer = answer
    jobs = Jobs(store)
    sampling = GenerateConfig(
        policy="gpt-x", protocol="text", endpoint=fake.endpoint, samples=2, limit=1, temperature=0.7
    )
    row = jobs.wait(jobs.submit("generate", sampling))
    assert row.status == "done", (row.reason, row.stderr_tail)
    found = store.rows(
        "SELECT p.name, p.model, r.text LIKE 'I say %', r.token_ids, r.finish_reason, "
        "r.sampling ->> 'temperature' "
        "FROM responses r JOIN policies p USING (policy_id) WHERE r.run_id = $run_id", {"run_id": row.run_id}
    )  # fmt: skip
    assert found == [("gpt-x", None, True, None, "stop", "0.7")] * 2
    assert jobs.wait(jobs.submit("judge", config(fake, limit=1))).status == "done"
    assert store.rows("SELECT count(*) FROM judge_pairs") == [(10,)]  # of five responses
    with pytest.raises(UsageError, match="stands for imported responses; there is no model of it"):
        jobs.submit("generate", GenerateConfig(policy="gpt-x"))
