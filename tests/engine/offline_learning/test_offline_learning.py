"""SFT, DPO and the others that learn from stored responses, on the fake model."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.errors import NonFiniteError
from engine.offline_learning import dpo, sft
from engine.offline_learning.examples import (
    ExampleReader,
    by_prompt,
    implied_pairs,
    implied_ties,
)
from engine.offline_learning.loop import make_train_state
from engine.offline_learning.reference import response_logprobs
from engine.offline_learning.sft import best_ranked
from engine.protocol.configs import (
    DPOConfig,
    StoredResponsesConfig,
)
from engine.protocol.events import Artifact, Finished, Message, Metrics, Stopped
from engine.text import Tokeniser
from engine.training.policy import Policy, load_trainable_policy
from tests.engine.offline_learning.jobs import CONFIGS, Job
from tests.engine.training.runs import make_run, only, rankings
from tests.sampled import sampled

KINDS = list(CONFIGS)
OWN_LOOP = ["sft", "dpo", "kto"]  # SimPO, CPO and ORPO differ from DPO in the loss alone


@pytest.mark.parametrize("kind", KINDS)
def test_learns_and_registers_a_policy(tmp_path: Path, ppo_models: dict[str, Path], kind: str) -> None:
    job = Job(tmp_path / "run", ppo_models, kind)
    events = job.events()
    losses = [m.values["heldout/loss"] for m in only(events, Metrics) if "heldout/loss" in m.values]
    assert len(losses) == 3
    assert losses[-1] < losses[0]  # type: ignore[operator]
    (artifact,) = only(events, Artifact)
    assert (artifact.kind, artifact.name) == ("policy", "better")
    saved = AutoModelForCausalLM.from_pretrained(job.run.path / artifact.path).state_dict()
    base = AutoModelForCausalLM.from_pretrained(ppo_models["policy"]).state_dict()
    assert saved.keys() == base.keys()
    assert any(not torch.equal(saved[name], base[name]) for name in base)
    assert isinstance(events[-1], Finished)


def test_dpo_starts_at_log_two_with_every_held_out_margin_tied(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    first, *rest = only(Job(tmp_path / "run", ppo_models, "dpo").events(), Metrics)
    assert first.values["heldout/loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first.values["heldout/accuracy"] == 0.5
    assert first.values["heldout/margin"] == 0
    assert rest[-1].values["heldout/accuracy"] > 0.6  # type: ignore[operator]
    train = rest[0].values
    difference = train["dpo/chosen_reward"] - train["dpo/rejected_reward"]  # type: ignore[operator]
    assert train["train/margin"] == pytest.approx(difference, abs=1e-6)


@pytest.mark.parametrize("kind", OWN_LOOP)
def test_paused_and_killed_runs_end_with_the_same_weights(
    tmp_path: Path, ppo_models: dict[str, Path], kind: str
) -> None:
    whole = Job(tmp_path / "whole", ppo_models, kind)
    whole.events()
    broken = Job(tmp_path / "broken", ppo_models, kind)
    broken.run.pause_path.touch()
    assert broken.events()[-1] == Stopped(paused=True)
    broken.run.pause_path.unlink()
    job = broken.start()
    for event in job:
        if isinstance(event, Metrics) and event.step == 3 and "train/loss" in event.values:
            break
    job.close()
    steps = [m.step for m in only(broken.events(), Metrics) if "train/loss" in m.values]
    assert steps == [3, 4]  # from the checkpoint after step 2
    one, other = whole.weights(), broken.weights()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", sampled(OWN_LOOP, "dpo", "kto"))
def test_out_of_memory_halves_the_micro_batch_and_changes_nothing(
    tmp_path: Path, ppo_models: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Job(tmp_path / "small", ppo_models, kind, microbatch=1, epochs=1)
    small.events()
    forward = Policy.forward

    def limited(policy: Policy, rows: list[Any]) -> Any:
        if torch.is_grad_enabled() and len(rows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(policy, rows)

    monkeypatch.setattr(Policy, "forward", limited)
    halved = Job(tmp_path / "halved", ppo_models, kind, microbatch=4, epochs=1)
    told = [event.text for event in only(halved.events(), Message) if "Memory ran out" in event.text]
    assert len(told) == 1
    one, other = small.weights(), halved.weights()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=2e-4, rtol=1e-3)


def example(
    folder: Path, config: StoredResponsesConfig, records: list[dict[str, Any]], pairs: Any = ()
) -> Any:
    found = ExampleReader(Tokeniser.from_folder(folder), config).example("p0", records, pairs)
    assert found is not None
    return found


def test_sft_counts_response_tokens_only_and_the_end_of_turn(ppo_models: dict[str, Path]) -> None:
    folder, config = ppo_models["policy"], CONFIGS["sft"]
    records = rankings(1)[:2]
    policy = load_trainable_policy(folder, dtype="float32", device="cpu", lora_rank=2, seed=0)
    one = example(folder, config, records)
    terms = sft.SFT(config).loss_terms(policy, [one])  # type: ignore[arg-type]
    model, tokeniser = AutoModelForCausalLM.from_pretrained(folder).eval(), Tokeniser.from_folder(folder)
    total, tokens = 0.0, 0
    for record in records:
        prompt = tokeniser.encode_prompt(json.loads(record["messages"]))
        response = [*tokeniser.encode_response(record["text"]), tokeniser.eos_id]
        with torch.no_grad():
            logp = model(input_ids=torch.tensor([prompt + response])).logits[0].log_softmax(-1)
        total -= float(logp[len(prompt) - 1 : -1].gather(1, torch.tensor(response)[:, None]).sum())
        tokens += len(response)
    assert float(terms.loss.detach()) == pytest.approx(total, rel=1e-4)
    assert sft.SFT(config).weight(one) == tokens  # type: ignore[arg-type]


def test_a_response_that_was_cut_does_not_teach_to_stop(ppo_models: dict[str, Path]) -> None:
    folder = ppo_models["policy"]
    end = Tokeniser.from_folder(folder).turn_id
    records = [
        {**row, "finish_reason": kind} for row, kind in zip(rankings(1)[:2], ("length", "stop"), strict=True)
    ]
    for config in CONFIGS.values():
        reader = ExampleReader(Tokeniser.from_folder(folder), config)
        found = reader.example("p0", records, ())
        assert found is not None
        assert [y[-1] == end for row in found.rows for y in row.responses] == [False, True]
        assert reader.truncated == 1
        out = msgspec.structs.replace(config, truncated="leave out")
        assert example(folder, out, records).count == 1
    # a response that is cut here, by max_tokens, has no end either
    short = msgspec.structs.replace(CONFIGS["sft"], max_tokens=20)
    long = [{**records[1], "text": "a" * 40, "finish_reason": None}]
    reader = ExampleReader(Tokeniser.from_folder(folder), short)
    reader.example("p0", long, ())
    assert reader.truncated == 1


def test_runs_say_how_many_responses_were_cut(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    job = Job(tmp_path / "run", ppo_models, "sft", learn_from="responses", epochs=1)
    cut = {"r0-0", "r0-1", "r0-2"}
    rows = [
        {**row, "finish_reason": "length" if row["response_id"] in cut else "stop"} for row in rankings(2)
    ]
    job.run = make_run(tmp_path / "cut", job.config, ppo_models, {"responses": rows})
    events = job.events()
    told = [event.text for event in only(events, Message) if "Cut by their budget" in event.text]
    assert len(told) == 1
    assert told[0].endswith("and learned without an end of turn: 3 responses.")
    assert only(events, Finished)[0].summary["truncated"] == 3


def test_dpo_gradient_is_that_of_finite_differences(ppo_models: dict[str, Path], tmp_path: Path) -> None:
    folder, config = ppo_models["policy"], msgspec.structs.replace(CONFIGS["dpo"], tuning="full")
    assert isinstance(config, DPOConfig)
    records = rankings(1)[:4]
    one = example(folder, config, records, implied_pairs(records))
    method, state = dpo.DPO(config), make_train_state(folder, config)
    measured = response_logprobs(state.policy, [one]).detach()
    method.known.sums["p0"] = measured + torch.arange(float(one.count))
    parameter = dict(state.policy.model.named_parameters())["model.norm.weight"]
    method.loss_terms(state.policy, [one]).loss.backward()
    assert parameter.grad is not None
    expected = float(parameter.grad.norm())
    direction = parameter.grad.clone() / expected
    values = []
    for step in (1e-2, -1e-2):
        with torch.no_grad():
            parameter.add_(step * direction)
            values.append(float(method.loss_terms(state.policy, [one]).loss))
            parameter.sub_(step * direction)
    assert (values[0] - values[1]) / 2e-2 == pytest.approx(expected, rel=2e-2)


def test_pairs_are_those_of_each_judgement_and_responses_lie_in_one_row(ppo_models: dict[str, Path]) -> None:
    records = rankings(1)  # two judgements of the same four responses
    ranked = {record["response_id"]: record["rank"] for record in records}
    pairs = implied_pairs(records)
    assert len(pairs) == 2 * 6
    assert all(ranked[winner] < ranked[loser] for winner, loser in pairs)
    one = example(ppo_models["policy"], CONFIGS["dpo"], records, pairs)
    assert (len(one.rows), one.count, len(one.winner)) == (1, 4, 12)
    tied = [{**record, "rank": 1} for record in records]
    assert implied_pairs(tied) == []


def test_best_ranked_responses_once_each(tmp_path: Path) -> None:
    records = rankings(1)
    best = [record["response_id"] for record in best_ranked(records)]
    assert best == [record["response_id"] for record in records[:4] if record["rank"] == 1]
    other = [{**r, "judgement_id": "x", "rank": 5 - r["rank"]} for r in records[:4]]
    assert len(best_ranked(records + other)) == 2


def test_sft_learns_from_stored_responses(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    job = Job(tmp_path / "run", ppo_models, "sft", learn_from="responses", holdout=0.0, epochs=1)
    texts = [event.text for event in only(job.events(), Message)]
    assert texts[0] == "Learning 4 responses to 1 prompt; held out: 0 prompts."
    assert len(by_prompt(job.run.table("responses"))) == 1


def test_long_texts_are_cut_and_what_is_cut_learns_no_end(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    texts = [
        event.text for event in only(Job(tmp_path / "a", ppo_models, "dpo", max_tokens=20).events(), Message)
    ]
    assert any("longer than 20 tokens and cut" in text for text in texts)
    tokeniser = Tokeniser.from_folder(ppo_models["policy"])
    reader = ExampleReader(tokeniser, msgspec.structs.replace(CONFIGS["dpo"], max_tokens=24))  # type: ignore[arg-type]
    row = {"response_id": "r", "messages": '[{"role": "user", "content": "x"}]'}
    short, long = (reader.example("p", [row | {"text": text}], ()) for text in ("a", "a" * 99))
    assert short is not None
    assert long is not None
    assert short.rows[0].responses[0][-1] == tokeniser.eos_id
    assert tokeniser.eos_id not in long.rows[0].responses[0]
    assert long.rows[0].prompt  # the long response has not pushed it out
    assert reader.was_cut == 1


def test_a_broken_loss_stops_with_the_batch(
    tmp_path: Path, ppo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dpo, "direct_preference", lambda w, loser, **_: w * math.nan)
    job = Job(tmp_path / "run", ppo_models, "dpo", holdout=0.0)
    with pytest.raises(NonFiniteError, match="not finite at step 1"):
        job.events()
    assert (job.run.path / "failed-batch" / "tensors.safetensors").exists()


def test_ties_are_learned_where_asked_and_left_out_elsewhere(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    records = rankings(1)[:4]
    tied = [{**record, "rank": 1} for record in records]
    assert len(implied_ties(tied)) == 6
    assert implied_ties(records) == []
    assert implied_ties([{**record, "unordered": True} for record in tied]) == []
    rows = [{**row, "rank": 1 + (row["rank"] > 2)} for row in rankings(6)]  # two tie above two that tie
    job = Job(tmp_path / "run", ppo_models, "dpo", ties="rao_kupper", epochs=4, holdout=0.25)
    job.run = make_run(tmp_path / "tied", job.config, ppo_models, {"rankings": rows})
    events = job.events()
    assert any("ties of" in event.text for event in only(events, Message))
    losses = [m.values["heldout/loss"] for m in only(events, Metrics) if "heldout/loss" in m.values]
    # at equal rewards and θ = 3: a win has probability ¼, a tie ½
    share = 2 / 6  # of pairs that tie, in every prompt
    expected = -(1 - share) * math.log(1 / 4) - share * math.log(1 / 2)
    assert losses[0] == pytest.approx(expected, abs=1e-4)
    assert losses[-1] < losses[0]  # type: ignore[operator]


@pytest.mark.parametrize(
    "changes",
    [
        {"average": "token", "beta": 5.0},
        {"loss": "robust", "label_smoothing": 0.1},
        {"length_penalty": 0.01, "nll": 0.5},
        {"loss": "ipo", "beta": 0.1, "learning_rate": 5e-4},
    ],
)
def test_variants_of_dpo_lower_their_own_loss(
    tmp_path: Path, ppo_models: dict[str, Path], changes: dict[str, Any]
) -> None:
    metrics = only(Job(tmp_path / "run", ppo_models, "dpo", **changes).events(), Metrics)
    losses = [m.values["heldout/loss"] for m in metrics if "heldout/loss" in m.values]
    assert losses[-1] < losses[0]  # type: ignore[operator]
