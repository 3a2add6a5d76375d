"""The reward job on the fake model."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from engine.errors import NonFiniteError, UsageError
from engine.models.packing import Row
from engine.protocol.configs import RewardConfig
from engine.protocol.events import Artifact, Finished, Message, Metrics, Progress, Stopped
from engine.reward_learning.fine_tuning.data import Element, RankingData, read_rankings
from engine.reward_learning.fine_tuning.learner import RewardLearner, micro_batches, train_step
from engine.reward_learning.fine_tuning.plan import learner_of, training_set_of
from engine.reward_learning.job import run
from engine.text import Tokeniser
from tests.engine.training.runs import make_run, only, rankings
from tests.fakes import tiny_tokeniser_files

CONFIG = RewardConfig(
    name="r", tuning="full", epochs=2, learning_rate=3e-3, batch_prompts=4, warmup_steps=2, dtype="float32",
    device="cpu", centring=0.01, checkpoint_every=3, holdout=0.25,
)  # fmt: skip


def config(**changes: Any) -> RewardConfig:
    return msgspec.structs.replace(CONFIG, **changes)


def elements(tmp_path: Path, folder: Path, rows: list[dict[str, Any]], **changes: Any) -> list[Element]:
    directory = make_run(tmp_path / "data", CONFIG, {}, {"rankings": rows})
    options = {"max_tokens": 64, "holdout": 0.0, "seed": 0} | changes
    return read_rankings(directory.table("rankings"), Tokeniser.from_folder(folder), **options).train


def learner(folder: Path, found: list[Element], settings: RewardConfig = CONFIG) -> RewardLearner:
    training_set = training_set_of(RankingData(found, [], ("overall",)), settings)
    return learner_of(folder, Tokeniser.from_folder(folder), settings, training_set)


def one_step(mine: RewardLearner, data: list[Element], rate: float = 1e-5) -> dict[str, float]:
    step = train_step(mine, data, rate, CONFIG, None, 1)  # type: ignore[arg-type]
    while True:
        try:
            next(step)
        except StopIteration as done:
            return dict(done.value)


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_learns_a_synthetic_preference(tmp_path: Path, tiny_model: Path, tuning: Any) -> None:
    settings = config(tuning=tuning, epochs=6, learning_rate=3e-3 if tuning == "full" else 2e-2)
    directory = make_run(tmp_path / "run", settings, {"policy": tiny_model}, {"rankings": rankings(24)})
    events = list(run(settings, directory))
    heldout = [event.values for event in only(events, Metrics) if "heldout/accuracy" in event.values]
    assert len(heldout) == 7  # before the first step, and after each epoch
    assert heldout[-1]["heldout/accuracy"] > 0.85
    assert heldout[-1]["heldout/log_loss"] < heldout[0]["heldout/log_loss"]
    assert heldout[-1]["heldout/accuracy_longer"] == 0.5  # all have one length
    (artifact,) = only(events, Artifact)
    assert (artifact.kind, artifact.name, artifact.path) == ("reward_model", "r", "model")
    assert isinstance(events[-1], Finished)
    training = [event for event in only(events, Metrics) if "train/loss" in event.values]
    assert [event.step for event in training] == list(range(1, len(training) + 1))


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_plain_transformers_gives_the_scores_we_report(tmp_path: Path, tiny_model: Path, tuning: Any) -> None:
    settings = config(tuning=tuning, epochs=1)
    directory = make_run(tmp_path / "run", settings, {"policy": tiny_model}, {"rankings": rankings(8)})
    artifact = only(run(settings, directory), Artifact)[0]
    model = AutoModelForSequenceClassification.from_pretrained(directory.path / "model").eval()
    data = read_rankings(
        directory.table("rankings"), Tokeniser.from_folder(tiny_model), max_tokens=512, holdout=0.25, seed=0
    )
    with torch.no_grad():
        scores = [
            float(model(input_ids=torch.tensor([[*row.prompt, *response]])).logits)
            for element in data.train
            for row in element.rows
            for response in row.responses
        ]
    details = artifact.details
    assert sum(scores) / len(scores) == pytest.approx(details["score_mean"], abs=1e-4)
    assert float(torch.tensor(scores).std(unbiased=False)) == pytest.approx(details["score_std"], abs=1e-4)
    saved = json.loads((directory.path / "model" / "config.json").read_text())
    assert (saved["score_mean"], saved["score_std"]) == (details["score_mean"], details["score_std"])


def test_the_score_is_read_at_the_end_of_the_turn(tmp_path: Path, tiny_model: Path) -> None:
    eos = Tokeniser.from_folder(tiny_model).eos_id
    element = elements(tmp_path, tiny_model, rankings(1))[0]
    assert all(response[-1] == eos for row in element.rows for response in row.responses)
    mine = learner(tiny_model, [element])
    scores = mine.scores([element])[0]
    row = element.rows[0]
    hidden = mine.trunk.module(input_ids=torch.tensor([[*row.prompt, *row.responses[2]]]))[0]
    torch.testing.assert_close(scores[0, 2], mine.heads(hidden[:, -1])[0, 0], atol=1e-5, rtol=0)


def test_annotators_share_the_forward_and_keep_their_own_pairs(tmp_path: Path, tiny_model: Path) -> None:
    rows = rankings(1)
    for row in rows:
        if row["annotator"] == "ben":
            row["rank"] = 5 - row["rank"]
    (element,) = elements(tmp_path, tiny_model, rows)
    assert len(element.lengths) == 4
    assert element.pairs == 12
    winners, losers = (torch.cat([j.pairs[side] for j in element.judgements]).tolist() for side in (0, 1))
    pairs = set(zip(winners, losers, strict=True))
    assert len(pairs) == 12  # every pair in both directions: nothing was averaged away


def test_ties_give_no_pair_and_are_counted(tmp_path: Path, tiny_model: Path) -> None:
    rows = [row for row in rankings(2) if row["annotator"] == "ann"]
    for row in rows[:4]:
        row["rank"] = 1 if row["response_id"] in ("r0-0", "r0-1") else 2
    first = elements(tmp_path, tiny_model, rows)[0]
    assert first.ties == 2
    assert first.pairs == 4


def test_only_ties_is_told(tmp_path: Path, tiny_model: Path) -> None:
    rows = [{**row, "rank": 1} for row in rankings(3)]
    with pytest.raises(UsageError, match="no preference to learn from: 3 judged prompts"):
        elements(tmp_path, tiny_model, rows)


def test_the_table_may_say_the_split(tmp_path: Path, tiny_model: Path) -> None:
    rows = [{**row, "split": "heldout" if row["prompt_id"] == "p1" else "train"} for row in rankings(4)]
    found = elements(tmp_path, tiny_model, rows, holdout=0.5)
    assert {element.prompt_id for element in found} == {"p0", "p2", "p3"}


def test_the_split_is_by_prompt_and_repeats(tmp_path: Path, tiny_model: Path) -> None:
    directory = make_run(tmp_path / "run", CONFIG, {}, {"rankings": rankings(20)})
    tokeniser = Tokeniser.from_folder(tiny_model)
    splits = [
        read_rankings(directory.table("rankings"), tokeniser, max_tokens=64, holdout=0.25, seed=seed)
        for seed in (1, 1, 2)
    ]
    heldout = [{element.prompt_id for element in split.heldout} for split in splits]
    assert heldout[0] == heldout[1] != heldout[2]
    assert len(heldout[0]) == 5
    assert not heldout[0] & {element.prompt_id for element in splits[0].train}


def test_a_long_prompt_is_cut_on_the_left_and_told(tmp_path: Path, tiny_model: Path) -> None:
    rows = rankings(4)
    rows = [{**row, "text": "a" * 40} if row["response_id"] == "r0-0" else row for row in rows]
    settings = config(epochs=1, max_tokens=48)
    directory = make_run(tmp_path / "run", settings, {"policy": tiny_model}, {"rankings": rows})
    events = list(run(settings, directory))
    assert any("tokens and cut" in message.text for message in only(events, Message))
    assert isinstance(events[-1], Finished)


def test_gradients_do_not_depend_on_micro_batches(tmp_path: Path, tiny_model: Path) -> None:
    data = elements(tmp_path, tiny_model, rankings(4))
    settings = config(lm_coefficient=0.5, ensemble=2, objective="davidson")
    gradients = []
    for budget in (64, 10**6):
        mine = learner(tiny_model, data, settings)
        groups = list(micro_batches(data, budget, mine.trunk))
        assert len(groups) == (4 if budget == 64 else 1)
        for group in groups:
            loss, lm, _ = mine.losses(group)
            ((loss + settings.lm_coefficient * lm) / len(data)).backward()
        gradients.append({name: p.grad for name, p in mine.model.named_parameters() if p.grad is not None})
        gradients[-1] |= {name: p.grad for name, p in mine.heads.named_parameters()}
        gradients[-1]["tie"] = mine.objective.tie.grad
    for name, one in gradients[0].items():
        torch.testing.assert_close(one, gradients[1][name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_a_cut_response_does_not_teach_the_language_model_to_end(
    tmp_path: Path, tiny_model: Path, finish_reason: str
) -> None:
    rows = [{**row, "finish_reason": finish_reason} for row in rankings(1)]
    data = elements(tmp_path, tiny_model, rows)
    mine = learner(tiny_model, data, config(lm_coefficient=0.5))
    with torch.no_grad():
        _, lm, _ = mine.losses(data)
    (row,) = data[0].rows
    best = row.responses[mine.terms[data[0].prompt_id].best]
    policy = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = policy(torch.tensor([[*row.prompt, *best]])).logits[0, len(row.prompt) - 1 : -1]
    logprobs = logits.log_softmax(dim=-1)[torch.arange(len(best)), torch.tensor(best)]
    learned = logprobs[:-1] if finish_reason == "length" else logprobs
    assert float(lm) == pytest.approx(float(-learned.mean()), abs=1e-4)


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_resumes_bit_for_bit(tmp_path: Path, tiny_model: Path, tuning: Any) -> None:
    settings = config(tuning=tuning)
    models, tables = {"policy": tiny_model}, {"rankings": rankings(16)}
    whole = make_run(tmp_path / "whole", settings, models, tables)
    events = list(run(settings, whole))
    killed = make_run(tmp_path / "killed", settings, models, tables)
    for stop_after in (2, 4, 5):  # before the first checkpoint, and twice after one
        job = run(settings, killed)
        for event in job:
            if isinstance(event, Metrics) and event.step >= stop_after:
                break
        job.close()  # type: ignore[attr-defined]
    again = list(run(settings, killed))
    one, other = (load_file(d.path / "model" / "model.safetensors") for d in (whole, killed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert only(events, Artifact)[0].details == only(again, Artifact)[0].details


def test_a_broken_loss_stops_and_keeps_the_batch(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(learning_rate=1e30, max_grad_norm=1e30, warmup_steps=0)
    directory = make_run(tmp_path / "run", settings, {"policy": tiny_model}, {"rankings": rankings(16)})
    with pytest.raises(NonFiniteError, match="not finite at step"):
        list(run(settings, directory))
    folder = directory.path / "failed-batch"
    assert load_file(folder / "tensors.safetensors")["input_ids"].ndim == 2
    assert json.loads((folder / "details.json").read_text())["prompt_ids"]


def test_bfloat16_keeps_float32_masters(tmp_path: Path, tiny_model: Path) -> None:
    data = elements(tmp_path, tiny_model, rankings(4))
    mine = learner(tiny_model, data, config(dtype="bfloat16"))
    masters = mine.optimisers["model"].masters
    assert mine.model.dtype == torch.bfloat16
    assert mine.heads.weight.dtype == torch.float32
    assert {master.dtype for master in masters.values()} == {torch.float32}
    before = {name: p.clone() for name, p in masters.items()}
    metrics = one_step(mine, data)
    assert math.isfinite(metrics["train/loss"])
    moved = [float((p - before[name]).detach().abs().max()) for name, p in masters.items()]
    assert min(moved) > 0  # a step of 1e-5 is lost in bfloat16, not in the masters


def test_auto_compares_on_the_same_folds_and_trains_the_best(tmp_path: Path, tiny_model: Path) -> None:
    settings = config(tuning="auto", epochs=4, folds=2, budget_minutes=5.0, learning_rate=1e-2)
    rows = rankings(12)
    responses = [{key: row[key] for key in ("response_id", "prompt_id", "messages", "text")} for row in rows]
    unique = list({row["response_id"]: row for row in responses}.values())
    tables = {"rankings": rows, "responses": unique}
    directory = make_run(tmp_path / "run", settings, {"policy": tiny_model}, tables)
    events = list(run(settings, directory))
    told = [message.text for message in only(events, Message)]
    assert sum(": 2 folds, accuracy" in text for text in told) == 3
    assert sum(text.endswith(" s ← chosen") for text in told) == 1
    table = {name: value for event in only(events, Metrics) for name, value in event.values.items()}
    losses = {name: table[f"auto/{name}/log_loss"] for name in ("frozen", "lora", "full")}
    chosen = min(losses, key=lambda name: losses[name])
    artifact = next(a for a in only(events, Artifact) if a.kind == "reward_model")
    assert artifact.details["tuning"] == chosen
    assert isinstance(events[-1], Finished)
    again = list(run(settings, directory))  # everything is known: nothing is compared again
    assert not [e for e in only(again, Progress) if e.stage.startswith("cross-validating")]


def test_auto_leaves_out_what_takes_too_long(tmp_path: Path, tiny_model: Path) -> None:
    settings = config(tuning="auto", folds=2, budget_minutes=1e-6)
    directory = make_run(tmp_path / "run", settings, {"policy": tiny_model}, {"rankings": rankings(8)})
    events = list(run(settings, directory))
    told = [message.text for message in only(events, Message)]
    assert sum("not tried any further" in text for text in told) == 2
    assert "lora: not tried." in told
    assert next(a for a in only(events, Artifact) if a.kind == "reward_model").details["tuning"] == "frozen"


def test_an_architecture_that_cannot_be_packed_is_told(tmp_path: Path, tiny_model: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    shape = json.loads((tiny_model / "config.json").read_text())
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    folder = tiny_tokeniser_files(tmp_path / "mistral")
    torch.manual_seed(0)
    sizes = {name: shape[name] for name in names}
    MistralForCausalLM(MistralConfig(**sizes, num_key_value_heads=2, sliding_window=8)).save_pretrained(
        folder
    )
    settings = config(epochs=1)
    directory = make_run(tmp_path / "run", settings, {"policy": folder}, {"rankings": rankings(8)})
    events = list(run(settings, directory))
    words = "Responses are encoded one by one: mistral attends through a sliding window"
    assert any(message.text.startswith(words) for message in only(events, Message))
    assert isinstance(events[-1], Finished)


def test_tokens_are_counted_as_they_are_computed(tmp_path: Path, tiny_model: Path) -> None:
    data = elements(tmp_path, tiny_model, rankings(3))
    trunk = learner(tiny_model, data).trunk
    rows = [row for element in data for row in element.rows]
    layouts = [trunk, replace(trunk, flat=False), replace(trunk, flat=False, why_not_packed="it cannot")]
    for layout in layouts:
        assert layout.tokens(rows) == layout.pack(rows).input_ids.numel()
    assert len({layout.tokens([*rows, Row([1], [[2]])]) for layout in layouts}) == 3


def test_a_step_that_runs_out_of_memory_is_taken_in_smaller_parts(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = elements(tmp_path, tiny_model, rankings(4))
    whole, parts = learner(tiny_model, data), learner(tiny_model, data)
    losses = parts.losses

    def narrow(group: list[Element]) -> Any:
        found = losses(group)
        if len(group) > 1:
            found[0].backward()  # memory runs out when gradients have begun to gather
            raise MemoryError
        return found

    monkeypatch.setattr(parts, "losses", narrow)
    one, other = one_step(whole, data), one_step(parts, data)
    assert parts.microbatch.told
    assert one == pytest.approx(other, rel=1e-4)


def test_a_pause_keeps_a_checkpoint_and_resuming_goes_on(tmp_path: Path, tiny_model: Path) -> None:
    settings = config(checkpoint_every=0)
    directory = make_run(tmp_path / "run", settings, {"policy": tiny_model}, {"rankings": rankings(16)})
    directory.pause_path.touch()
    first = list(run(settings, directory))
    assert first[-1] == Stopped(paused=True)
    directory.pause_path.unlink()
    steps = [event.step for event in only(run(settings, directory), Metrics) if "train/loss" in event.values]
    assert steps == [2, 3, 4, 5, 6]
