"""The generate job: whole, stopped and resumed; unfit prompts told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import fmean

import msgspec
import pytest
import torch

from engine.errors import UsageError
from engine.jobs import generate
from engine.models.policy import load_policy
from engine.protocol.configs import GenerateConfig
from engine.protocol.events import Finished, Message, Metrics, Output, Progress
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from tests.engine.jobs.runs import outputs, until_output
from tests.engine.serving import Fake
from tests.engine.training.runs import chat, make_run
from tests.fakes import tiny_model_folder

CONFIG = GenerateConfig(
    policy="tiny", samples=3, max_new_tokens=10, dtype="float32", seed=7, batch_sequences=6, device="cpu"
)
PROMPTS = [{"prompt_id": f"p{n}", "messages": chat("word " * n)} for n in range(1, 6)]


def new_run(
    path: Path, model: Path, config: GenerateConfig = CONFIG, prompts: list[dict] = PROMPTS
) -> RunDir:
    return make_run(path, config, {"policy": model}, {"prompts": prompts})


def by_key(rows: list[dict]) -> dict[tuple[str, int], list[int]]:
    return {(row["prompt_id"], row["sample_index"]): row["token_ids"] for row in rows}


def test_every_prompt_gets_its_samples_with_log_probabilities(tiny_model: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", tiny_model)
    events = list(generate.run(CONFIG, run))
    rows, tokeniser = outputs(run, events), Tokeniser.from_folder(tiny_model)
    assert set(by_key(rows)) == {(f"p{n}", s) for n in range(1, 6) for s in range(3)}
    for row in rows:
        ids = row["token_ids"]
        assert len(ids) == len(row["token_logprobs"])
        assert row["finish_reason"] == ("stop" if ids[-1] in tokeniser.stop_ids else "length")
        assert row["text"] == tokeniser.decode([token for token in ids if token not in tokeniser.stop_ids])
    progress = [event for event in events if isinstance(event, Progress) and event.stage == "generating"]
    assert progress[-1].done == progress[-1].total == 15
    assert progress[-1].rate_unit == "tokens/s"
    assert isinstance(events[-1], Finished)
    assert events[-1].summary["responses"] == 15
    assert all((run.path / e.path).stat().st_mode & 0o777 == 0o600 for e in events if isinstance(e, Output))


def test_a_stopped_job_keeps_its_files_and_resumes_to_the_same_responses(
    tiny_model: Path, tmp_path: Path
) -> None:
    whole_run = new_run(tmp_path / "whole", tiny_model)
    whole = outputs(whole_run, list(generate.run(CONFIG, whole_run)))
    run = new_run(tmp_path / "run", tiny_model)
    first = outputs(run, until_output(generate.run(CONFIG, run), 1))
    assert len(first) == 6
    rest = list(generate.run(CONFIG, run))
    assert isinstance(rest[0], Output)  # what the first process wrote is announced again
    assert by_key(outputs(run, rest)) == by_key(whole)
    assert isinstance(rest[-1], Finished)
    assert rest[-1].summary["responses"] == 15


def test_the_order_of_prompts_changes_no_response(tiny_model: Path, tmp_path: Path) -> None:
    runs = [new_run(tmp_path / "a", tiny_model), new_run(tmp_path / "b", tiny_model, prompts=PROMPTS[::-1])]
    first, second = (by_key(outputs(run, list(generate.run(CONFIG, run)))) for run in runs)
    assert first == second


def test_a_prompt_that_is_too_long_is_left_out_and_told(tiny_model: Path, tmp_path: Path) -> None:
    prompts = [*PROMPTS[:2], {"prompt_id": "long", "messages": chat("x" * 600)}]
    run = new_run(tmp_path / "run", tiny_model, prompts=prompts)
    events = list(generate.run(CONFIG, run))
    warnings = [event.text for event in events if isinstance(event, Message)]
    assert len(warnings) == 1
    assert "“xxx" in warnings[0]
    assert "it has" in warnings[0]
    assert len(outputs(run, events)) == 6


def test_only_unfit_prompts_fail_the_job(tiny_model: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", tiny_model, prompts=[{"prompt_id": "long", "messages": chat("x" * 600)}])
    with pytest.raises(UsageError, match="None of the 1 prompts"):
        list(generate.run(CONFIG, run))


def test_a_model_without_chat_template_names_the_plain_one(tiny_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "base"
    shutil.copytree(tiny_model, model)
    (model / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="choose the plain template"):
        list(generate.run(CONFIG, new_run(tmp_path / "run", model)))
    plain = msgspec.structs.replace(CONFIG, template="plain")
    run = new_run(tmp_path / "plain", model, plain)
    assert len(outputs(run, list(generate.run(plain, run)))) == 15


def test_a_server_samples_and_no_weights_are_read(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").write_bytes(b"not to be read")
    fake = Fake()
    try:
        config = msgspec.structs.replace(CONFIG, endpoint=fake.endpoint, policy="mine")
        run = new_run(tmp_path / "run", folder, config)
        events = list(generate.run(config, run))
        warm = msgspec.structs.replace(config, temperature=0.7)
        unknown = new_run(tmp_path / "warm", folder, warm)
        warned = list(generate.run(warm, unknown))
    finally:
        fake.close()
    rows = outputs(run, events)
    assert set(by_key(rows)) == {(f"p{n}", s) for n in range(1, 6) for s in range(3)}
    assert {tuple(row["token_logprobs"]) for row in rows} == {(-0.5, -0.5), (-1.0, -1.0), (-1.5, -1.5)}
    assert {asked["seed"] for asked in fake.asked} == {generate.seed_of(7, f"p{n}") for n in range(1, 6)}
    assert {row["token_logprobs"] for row in outputs(unknown, warned)} == {None}
    assert any("no log-probabilities" in event.text for event in warned if isinstance(event, Message))


def test_the_kl_to_itself_is_0_and_to_another_policy_what_two_forwards_say(
    tiny_model: Path, tmp_path: Path
) -> None:
    other = tiny_model_folder(tmp_path, seed=1)
    config = msgspec.structs.replace(CONFIG, kl_to="reference")
    told = {}
    for name, reference in {"same": tiny_model, "other": other}.items():
        models = {"policy": tiny_model, "reference": reference}
        run = make_run(tmp_path / name, config, models, {"prompts": PROMPTS})
        events = list(generate.run(config, run))
        (told[name],) = [event.values for event in events if isinstance(event, Metrics)]
        assert events[-1].summary["kl"] == told[name]["sample/kl"]
    assert told["same"] == {"sample/kl": 0.0, "sample/kl_error": 0.0}
    tokeniser = Tokeniser.from_folder(tiny_model)
    ours, theirs = (load_policy(folder, "float32") for folder in (tiny_model, other))
    by_prompt: dict[str, list[float]] = {}
    for row in outputs(run, events):
        (messages,) = [json.loads(p["messages"]) for p in PROMPTS if p["prompt_id"] == row["prompt_id"]]
        prompt = tokeniser.encode_prompt(messages, "chat")
        ids = torch.tensor([prompt + row["token_ids"]])
        sums = [
            model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            [range(len(row["token_ids"])), row["token_ids"]].sum().item()
            for model in (ours, theirs)
        ]  # fmt: skip
        by_prompt.setdefault(row["prompt_id"], []).append(sums[0] - sums[1])
    assert told["other"]["sample/kl"] == pytest.approx(fmean(map(fmean, by_prompt.values())), abs=1e-4)
    assert told["other"]["sample/kl"] > 0.01


def test_the_kl_is_measured_of_what_was_said_before_a_kill_too(tiny_model: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, kl_to="reference")
    models = {"policy": tiny_model, "reference": tiny_model_folder(tmp_path, seed=1)}
    whole = make_run(tmp_path / "whole", config, models, {"prompts": PROMPTS})
    (want,) = [e.values for e in generate.run(config, whole) if isinstance(e, Metrics)]
    run = make_run(tmp_path / "run", config, models, {"prompts": PROMPTS})
    until_output(generate.run(config, run), 1)
    (found,) = [e.values for e in generate.run(config, run) if isinstance(e, Metrics)]
    assert found == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("other", [{"temperature": 0.7}, {"top_p": 0.9}])
def test_the_kl_of_another_distribution_is_refused(other: dict) -> None:
    with pytest.raises(UsageError, match="temperature 1 and top_p 1"):
        GenerateConfig(policy="tiny", kl_to="tiny", **other)
