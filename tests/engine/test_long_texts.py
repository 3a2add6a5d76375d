"""Texts that are longer than a model reads, and prompts that it refuses: cut or left out, counted, told."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from engine.errors import UsageError
from engine.jobs import generate, score
from engine.left_out import LeftOutTexts, first_words
from engine.models.reward_model import load_reward_model
from engine.offline_learning import sft
from engine.policy_learning.prompts import read_prompts
from engine.protocol.configs import (
    GenerateConfig,
    PPOConfig,
    RewardConfig,
    ScoreConfig,
    SFTConfig,
)
from engine.protocol.events import Event, Finished, Message, Output
from engine.protocol.rundir import RunDir
from engine.reward_learning.job import run as reward
from engine.text import SCORE_LIMIT, Tokeniser
from tests.engine.training.runs import chat, make_run, only, rankings

HERE: dict[str, Any] = {"dtype": "float32", "device": "cpu"}
REFUSED = json.dumps([{"role": "system", "content": "be brief"}, {"role": "user", "content": "Not this one"}])


@pytest.fixture(scope="module")
def strict_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its chat template refuses system messages, as Gemma's does."""
    folder = tmp_path_factory.mktemp("strict") / "model"
    shutil.copytree(tiny_model, folder)
    template = (folder / "chat_template.jinja").read_text()
    refuse = "{{ raise_exception('System role not supported') }}"
    refuse = "{% if messages[0]['role'] == 'system' %}" + refuse + "{% endif %}"
    (folder / "chat_template.jinja").write_text(refuse + template)
    return folder


def long_and_refused() -> list[dict[str, Any]]:
    """Rankings in which one response is long and one prompt is refused."""
    rows = rankings(8)
    for row in rows:
        if row["response_id"] == "r0-0":
            row["text"] = "a" * 900
        if row["prompt_id"] == "p1":
            row["messages"] = REFUSED
    return rows


def texts_of(events: list[Event]) -> str:
    return "\n".join(event.text for event in only(events, Message))


def score_rows(run: RunDir, events: list[Event]) -> dict[str, dict[str, Any]]:
    files = [event.path for event in only(events, Output) if event.kind == "scores"]
    return {row["response_id"]: row for file in files for row in pq.read_table(run.path / file).to_pylist()}


@pytest.mark.parametrize("tuning", ["full", "frozen"])
def test_a_reward_model_learns_scores_and_is_loaded_with_one_limit(
    tmp_path: Path, strict_model: Path, tuning: Any
) -> None:
    config = RewardConfig(name="r", policy="x", tuning=tuning, max_tokens=96, holdout=0.25, **HERE)
    rows = long_and_refused()
    responses = list({row["response_id"]: row for row in rows}.values())
    tables = {"rankings": rows} | ({"responses": responses} if tuning == "frozen" else {})
    run = make_run(tmp_path / "run", config, {"policy": strict_model}, tables)
    events = list(reward(config, run))
    assert isinstance(events[-1], Finished)
    told = texts_of(events)
    assert "1 response with its prompt is longer than 96 tokens and cut" in told
    assert "refused by the chat template; the first is “Not this one”: " in told
    assert "System role not supported" in told
    found = score_rows(run, events)
    assert [name for name, row in found.items() if row["cut"]] == ["r0-0"]
    assert not any(name.startswith("r1-") for name in found)
    tokeniser = Tokeniser.from_folder(run.path / "model")
    assert tokeniser.score_tokens == 96
    assert json.loads((run.path / "model" / "config.json").read_text())[SCORE_LIMIT] == 96
    # What reads the folder later gives the score of training, of the long response too.
    reward_model = load_reward_model(run.path / "model", "float32")
    tokens = tokeniser.encode_for_score(json.loads(chat("say 0")), "a" * 900, tokeniser.score_tokens)
    (again,) = reward_model.scores_of([(tokens.prompt, tokens.response)])[:, 0].tolist()
    assert found["r0-0"]["score"] == pytest.approx(again, abs=1e-3)


def test_nothing_but_refused_prompts_is_a_sentence(tmp_path: Path, strict_model: Path) -> None:
    config = RewardConfig(name="r", tuning="full", **HERE)
    rows = [row | {"messages": REFUSED} for row in rankings(2)]
    run = make_run(tmp_path / "run", config, {"policy": strict_model}, {"rankings": rows})
    with pytest.raises(UsageError, match=r"None of the 2 judged prompts .* “Not this one”"):
        list(reward(config, run))


def test_features_of_another_limit_are_not_taken_over(tmp_path: Path, tiny_model: Path) -> None:
    from engine.reward_learning.frozen.features import feature_info

    tokeniser = Tokeniser.from_folder(tiny_model)
    config = RewardConfig(name="r", max_tokens=96, **HERE)
    own = feature_info(config, tiny_model, tokeniser)
    other = feature_info(msgspec.structs.replace(config, max_tokens=97), tiny_model, tokeniser)
    assert own.fits(own)
    assert not own.fits(other)


def test_the_score_job_marks_and_leaves_out(tmp_path: Path, tiny_reward: Path, strict_model: Path) -> None:
    folder = tmp_path / "rm"
    shutil.copytree(tiny_reward, folder)
    shutil.copy(strict_model / "chat_template.jinja", folder)
    config = ScoreConfig(reward_model="r", **HERE)
    rows = [
        {"response_id": "long", "prompt_id": "p", "messages": chat("Why?"), "text": "x" * 2000},
        {"response_id": "short", "prompt_id": "p", "messages": chat("Why?"), "text": "x"},
        {"response_id": "refused", "prompt_id": "q", "messages": REFUSED, "text": "x"},
    ]
    run = make_run(tmp_path / "run", config, {"reward_model": folder}, {"responses": rows})
    events = list(score.run(config, run))
    assert {name: row["cut"] for name, row in score_rows(run, events).items()} == {
        "long": True,
        "short": False,
    }
    assert "“Not this one”" in texts_of(events)


def test_a_refused_prompt_fails_no_other_job(tmp_path: Path, strict_model: Path) -> None:
    prompts = [{"prompt_id": "good", "messages": chat("go")}, {"prompt_id": "bad", "messages": REFUSED}]
    sampling = GenerateConfig(policy="x", samples=1, max_new_tokens=2, **HERE)
    run = make_run(tmp_path / "g", sampling, {"policy": strict_model}, {"prompts": prompts})
    events = list(generate.run(sampling, run))
    assert "1 of the prompts was left out as refused by the chat template" in texts_of(events)
    assert isinstance(events[-1], Finished)
    assert events[-1].summary["left_out"] == 1
    kept = read_prompts(
        run.table("prompts"), Tokeniser.from_folder(strict_model), PPOConfig(name="p", reward_model="r"), 512
    )
    assert [prompt.prompt_id for prompt in kept.train] == ["good"]
    assert len(kept.left_out) == 1
    learning = SFTConfig(name="s", holdout=0.0, **HERE)
    run = make_run(tmp_path / "s", learning, {"policy": strict_model}, {"rankings": long_and_refused()})
    examples = sft.SFT(learning).read(run, Tokeniser.from_folder(strict_model))
    assert [example.prompt_id for example in examples.train] == [f"p{n}" for n in range(8) if n != 1]


def test_what_names_a_text_is_printable_and_short() -> None:
    assert first_words("  two\n words\x1b]52;c;x\x07 ") == "“two words]52;c;x”"
    assert len(first_words("x" * 500)) <= 62
    assert str(LeftOutTexts().nothing_left("import some")) == "There are no prompts; import some."
