"""The judge job: models, reward models and functions, in both orders; stopped and resumed; what is unfit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine.errors import UsageError
from engine.jobs import judge
from engine.protocol.configs import JudgeConfig
from engine.protocol.events import Finished, Message, Metrics, Output
from engine.protocol.rundir import RunDir
from tests.engine.jobs.runs import outputs, until_output
from tests.engine.training.runs import chat, make_run


def pair(
    number: int, first: str = "a word", second: str = "another word or two", **more: Any
) -> dict[str, Any]:
    return {
        "prompt_id": f"p{number}",
        "messages": chat(f"Question {number}?"),
        "response_a": f"r{number}a",
        "text_a": first,
        "response_b": f"r{number}b",
        "text_b": second,
        "judged": ["other"],
    } | more


PAIRS = [pair(number, "short", "long " * (number + 1)) for number in range(1, 6)]


@pytest.fixture
def judges(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module with functions that judge."""
    module = ModuleType("judges_of_a_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.shorter = lambda prompt, first, second, criterion: 0.9 if len(first) < len(second) else 0.1
    module.first = lambda prompt, first, second, criterion: 1.0
    module.wild = lambda prompt, first, second, criterion: 3
    module.leaves = lambda prompt, first, second, criterion: sys.exit("enough")
    return module


def by_function(function: str, **more: Any) -> JudgeConfig:
    module = f"judges_of_a_test:{function}"  # which a process of its own could not import
    return JudgeConfig(by="function", function=module, function_seconds=0.0, **more)


def judged(path: Path, config: JudgeConfig, pairs: list[dict[str, Any]] = PAIRS, **models: Path) -> Any:
    run = make_run(path, config, models, {"pairs": pairs})
    events = list(judge.run(config, run))
    return run, events, outputs(run, events)


def test_a_function_is_asked_in_both_orders(tmp_path: Path, judges: ModuleType) -> None:
    _, events, rows = judged(tmp_path / "run", by_function("shorter", name="short"))
    assert [(row["first_id"], row["said"], row["verdict"]) for row in rows[-2:]] == [
        ("r5a", 1, 1),
        ("r5b", -1, 1),
    ]
    assert {row["annotator"] for row in rows} == {"ai:short"}
    assert rows[0]["share"] == 0.9
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.summary["judgements"] == 5
    assert (finished.summary["orders_disagree"], finished.summary["first"]) == (0.0, 0.5)


def test_one_that_always_takes_the_first_ties_and_shows_its_bias(tmp_path: Path, judges: ModuleType) -> None:
    _, events, rows = judged(tmp_path / "run", by_function("first"))
    assert {row["verdict"] for row in rows} == {0}
    (metrics,) = (event for event in events if isinstance(event, Metrics))
    assert (metrics.values["judge/orders_disagree"], metrics.values["judge/first"]) == (1.0, 1.0)


def test_a_stopped_job_goes_on_where_it_was(
    tmp_path: Path, judges: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "SECONDS_A_FILE", 0.0)
    config = by_function("shorter")
    run = make_run(tmp_path / "run", config, {}, {"pairs": PAIRS})
    first = until_output(judge.run(config, run), 2)
    assert len(outputs(run, first)) == 4
    events = list(judge.run(config, run))
    assert [e.path for e in events if isinstance(e, Output)][:2] == [
        e.path for e in first if isinstance(e, Output)
    ]
    rows = outputs(run, events)
    assert sorted({row["response_a"] for row in rows}) == [f"r{n}a" for n in range(1, 6)]
    assert len(rows) == 10
    assert isinstance(events[-1], Finished)
    assert events[-1].summary["judgements"] == 5


def test_what_was_judged_before_is_not_asked_again(tmp_path: Path, judges: ModuleType) -> None:
    pairs = [pair(1, judged=["overall"]), pair(2, judged=["overall", "kind"])]
    _, events, rows = judged(tmp_path / "run", by_function("shorter", criterion="overall,kind"), pairs)
    assert {(row["prompt_id"], row["criterion"]) for row in rows} == {("p1", "kind")}
    _, events, rows = judged(tmp_path / "again", by_function("shorter"), pairs)
    assert rows == []
    assert isinstance(events[-1], Finished)


def test_what_is_too_long_is_left_out_and_told(tmp_path: Path, judges: ModuleType) -> None:
    pairs = [pair(1), pair(2, "x" * 200)]
    _, events, rows = judged(tmp_path / "run", by_function("shorter", max_characters=100), pairs)
    assert {row["prompt_id"] for row in rows} == {"p1"}
    (told,) = (event.text for event in events if isinstance(event, Message))
    assert told.startswith("1 of the pairs was left out as too long; the first is “Question 2?”: it has")
    with pytest.raises(UsageError, match="None of the 1 pairs"):
        judged(tmp_path / "none", by_function("shorter", max_characters=100), pairs[1:])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("judges_of_a_test:wild", "gave 3; it must give the probability"),
        ("judges_of_a_test:leaves", r"failed \(SystemExit: enough\)"),
        ("judges_of_a_test:absent", "is not a function"),
        ("no.such.module:f", r"cannot be imported \(ModuleNotFoundError"),
        ("plugin:absent", "no plugin with a judge “absent”"),
    ],
)
def test_a_function_that_does_not_judge_gets_a_sentence(
    tmp_path: Path, judges: ModuleType, name: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        judged(tmp_path / "run", JudgeConfig(by="function", function=name, function_seconds=0.0))


def test_a_function_that_hangs_leaves_a_pair_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging_judge.py").write_text(
        "import time\n"
        "def brief(prompt, first, second, criterion):\n"
        "    time.sleep(60 * ('2' in prompt))\n"
        "    return 0.9 if len(first) < len(second) else 0.1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = JudgeConfig(by="function", function="hanging_judge:brief", function_seconds=0.5)
    _, events, rows = judged(tmp_path / "run", config, [pair(1), pair(2)])
    assert {row["prompt_id"] for row in rows} == {"p1"}
    told = [event.text for event in events if isinstance(event, Message)]
    assert any("left out as too slow" in text for text in told)


def test_a_model_is_asked_by_the_probabilities_of_its_next_token(tmp_path: Path, tiny_model: Path) -> None:
    """The same as transformers says of each question alone, unpadded and unbatched."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    from engine.judging.model import ModelJudge, verdict_tokens
    from engine.judging.question import PairQuestion
    from engine.protocol.rubric import Rubric
    from engine.text import Tokeniser

    rubric = tmp_path / "short.toml"
    rubric.write_text("instructions = 'Judge.'\n[criteria]\nkind = 'kindness'")
    config = JudgeConfig(
        policy="tiny", dtype="float32", device="cpu", rubric=str(rubric), criterion="all", batch_tokens=900
    )
    run = make_run(tmp_path / "run", config, {"policy": tiny_model}, {"pairs": PAIRS})
    run.keep_file("rubric", rubric)
    rubric.unlink()  # the run has its own
    rows = outputs(run, list(judge.run(config, run)))
    assert len(rows) == 10
    assert {row["annotator"] for row in rows} == {"ai:tiny short"}
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    tokeniser = Tokeniser.from_folder(tiny_model)
    told = Rubric("Judge.", {"kind": "kindness"})
    asks = ModelJudge(model, tokeniser, told, 900)
    ids_of = verdict_tokens(tokeniser, told.verdicts)
    for row in rows:
        number = int(row["prompt_id"][1:])
        question = PairQuestion(
            row["prompt_id"],
            [{"role": "user", "content": f"Question {number}?"}],
            "kind",
            (row["response_a"], row["response_b"]),
            ("short", "long " * (number + 1)),
            turned=row["first_id"] == row["response_b"],
        )
        ids = asks.encode(question)
        with torch.no_grad():
            probabilities = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
        first, second, tie = (float(probabilities[ids].sum()) for ids in ids_of)
        assert row["mass"] == pytest.approx(first + second + tie, abs=1e-5)
        assert row["share"] == pytest.approx((first + tie / 2) / (first + second + tie), abs=1e-4)
        assert row["tokens_in"] == len(ids)


def test_a_model_leaves_out_what_is_too_long_for_it(tmp_path: Path, tiny_model: Path) -> None:
    config = JudgeConfig(policy="tiny", dtype="float32", device="cpu")
    with pytest.raises(UsageError, match=r"None of the 1 pairs.*the model has 512 positions"):
        judged(tmp_path / "run", config, [pair(1, "x" * 600)], policy=tiny_model)


def test_labels_must_be_tokens(tmp_path: Path, tiny_model: Path) -> None:
    rubric = tmp_path / "words.toml"
    rubric.write_text("labels = ['first', 'second', 'tie']")
    config = JudgeConfig(policy="tiny", dtype="float32", device="cpu", rubric=str(rubric))
    run = make_run(tmp_path / "run", config, {"policy": tiny_model}, {"pairs": PAIRS})
    run.keep_file("rubric", rubric)
    with pytest.raises(UsageError, match="“first” is several tokens"):
        list(judge.run(config, run))


def test_a_reward_model_judges_by_its_scores(tmp_path: Path, tiny_reward: Path) -> None:
    from engine.models.reward_model import load_reward_model

    config = JudgeConfig(by="reward_model", reward_model="rm", dtype="float32", device="cpu")
    _, events, rows = judged(tmp_path / "run", config, reward_model=tiny_reward)
    model = load_reward_model(tiny_reward, "float32")
    for row in rows[::2]:
        number = int(row["prompt_id"][1:])
        messages = [{"role": "user", "content": f"Question {number}?"}]
        tokens = [model.tokeniser.encode_for_score(messages, t) for t in ("short", "long " * (number + 1))]
        a, b = model.scores_of([(each.prompt, each.response) for each in tokens])[:, 0].tolist()
        assert row["verdict"] == (1 if a > b else -1)
    assert isinstance(events[-1], Finished)
    assert events[-1].summary["orders_disagree"] == 0.0


def test_the_run_keeps_the_rubric_that_was_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "Mine.MD"
    source.write_text("Be strict.")
    run = RunDir.create(tmp_path / "run", JudgeConfig(rubric=str(source)))
    run.keep_file("rubric", source)
    source.write_text("Be kind.")
    assert run.file("rubric").read_text() == "Be strict."
