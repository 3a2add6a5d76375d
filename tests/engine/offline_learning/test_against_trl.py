"""The losses of a whole batch equal those of TRL 1.12.0 in float32.

Needs another Python: `WORKBENCH_PEER=venv/bin/python`, with `torch==2.13.0` and `trl==1.12.0` installed.
What differs, and why: CPO and RPO average imitation over the tokens of a batch there and over those of
each winner here, the same where winners are equally long, as here; ORPO imitates the prompt too there, so
its preference is compared alone.  IPO and SimPO are means over tokens there; IPO is `average` token here.
Nash-MD's KL is another one there, as its test says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.models.packing import Row
from engine.objectives.nash import nash_md
from engine.offline_learning.cpo import CPO
from engine.offline_learning.dpo import DPO
from engine.offline_learning.examples import TrainingExample
from engine.offline_learning.kto import KTO
from engine.offline_learning.orpo import ORPO
from engine.offline_learning.reference import response_logprobs
from engine.offline_learning.simpo import SimPO
from engine.policy_learning.online_dpo import OnlineDPO, pairs_of
from engine.policy_learning.update import MicroBatch, Sums
from engine.protocol.configs import CPOConfig, DPOConfig, KTOConfig, OnlineDPOConfig, ORPOConfig, SimPOConfig
from engine.training.policy import Policy, load_trainable_policy
from tests.fakes import tiny_model_folder

PEER = os.environ.get("WORKBENCH_PEER", "")
PROGRAM = Path(__file__).parents[2] / "peers" / "trl_losses.py"
PAIRS = [
    {"prompt": [5, 9, 13], "chosen": [21, 22, 23, 2], "rejected": [31, 2]},
    {"prompt": [7, 6], "chosen": [41, 8, 19, 2], "rejected": [11, 12, 13, 14, 15, 2]},
    {"prompt": [50, 51, 52, 53], "chosen": [17, 18, 3, 2], "rejected": [33, 34, 2]},
]
NAMED = {"name": "x"}
CASES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "dpo": (DPO(DPOConfig(**NAMED)), "dpo", {"beta": 0.1, "loss_types": ["sigmoid"]}),
    "robust": (
        DPO(DPOConfig(**NAMED, loss="robust", label_smoothing=0.2)),
        "dpo",
        {"beta": 0.1, "loss_types": ["robust"], "label_smoothing": 0.2},
    ),
    "ipo": (
        DPO(DPOConfig(**NAMED, loss="ipo", average="token", beta=0.3)),
        "dpo",
        {"beta": 0.3, "loss_types": ["ipo"]},
    ),
    "by length": (
        DPO(DPOConfig(**NAMED, average="token", beta=5.0)),
        "dpo",
        {"beta": 5.0, "loss_types": ["sigmoid_norm"]},
    ),
    "rpo": (
        DPO(DPOConfig(**NAMED, nll=0.7)),
        "dpo",
        {"beta": 0.1, "loss_types": ["sigmoid", "sft"], "loss_weights": [1.0, 0.7]},
    ),
    "simpo": (
        SimPO(SimPOConfig(**NAMED, beta=2.0, gamma=1.0)),
        "cpo",
        {"beta": 2.0, "simpo_gamma": 1.0, "loss_type": "simpo", "cpo_alpha": 0.0},
    ),
    "cpo": (
        CPO(CPOConfig(**NAMED, beta=0.1, nll=0.5)),
        "cpo",
        {"beta": 0.1, "loss_type": "sigmoid", "cpo_alpha": 0.5},
    ),
    "orpo": (ORPO(ORPOConfig(**NAMED, beta=0.2)), "orpo", {"beta": 0.2}),
    "kto": (
        KTO(KTOConfig(**NAMED, beta=0.3, undesirable_weight=1.5)),
        "kto",
        {"beta": 0.3, "undesirable_weight": 1.5},
    ),
}


def of_pairs(policy: Policy, reference: Policy, method: Any) -> float:
    one, two = torch.tensor([0]), torch.tensor([1])
    examples = [
        TrainingExample(str(n), (Row(p["prompt"], [p["chosen"], p["rejected"]]),), one, two)
        for n, p in enumerate(PAIRS)
    ]
    if isinstance(method, DPO):
        for example in examples:
            method.known.sums[example.prompt_id] = response_logprobs(reference, [example])
    loss = float(method.loss_terms(policy, examples).loss) / len(examples)
    if isinstance(method, ORPO):
        found_N = response_logprobs(policy, examples)[::2]
        loss += float((found_N / torch.tensor([len(p["chosen"]) for p in PAIRS])).mean())
    return loss


def of_singles(policy: Policy, reference: Policy, method: KTO, singles: list[dict[str, Any]]) -> float:
    none = torch.zeros(0, dtype=torch.long)
    examples = []
    for n, single in enumerate(singles):
        label = torch.tensor([single["label"]])
        for name, response in ((str(n), single["response"]), (f"{n} other", single["other"])):
            example = TrainingExample(name, (Row(single["prompt"], [response]),), none, none, desirable=label)
            method.known.sums[name] = response_logprobs(reference, [example])
            if name == str(n):
                examples.append(example)
            else:
                method.mismatched[str(n)] = example
    method.measure_step(policy, examples, 1)
    return float(method.loss_terms(policy, examples).loss) / len(examples)


def alone(folder: Path) -> Policy:
    """The policy of a folder, every weight in float32, without a reference beside it."""
    return load_trainable_policy(
        folder, dtype="float32", device="cpu", lora_rank=None, seed=0, with_reference=False
    )


def asked_of_trl(job: dict[str, Any], folder: Path) -> dict[str, float]:
    """The losses of a job's cases, by TRL."""
    (folder / "job.json").write_text(json.dumps(job))
    told = subprocess.run(
        [PEER, str(PROGRAM), str(folder / "job.json")],
        capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-3000:]
    losses: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return losses


@pytest.mark.skipif(not PEER, reason="WORKBENCH_PEER names no Python with TRL 1.12.0")
@torch.no_grad()
def test_losses_equal_those_of_trl(tmp_path: Path, tiny_model: Path) -> None:
    torch.manual_seed(0)
    other = tmp_path / "policy"
    shutil.copytree(tiny_model, other)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    for parameter in model.parameters():
        parameter.add_(0.3 * parameter.std(correction=0) * torch.randn_like(parameter))
    model.save_pretrained(other)
    singles = [
        {
            "prompt": pair["prompt"],
            "response": pair["chosen" if good else "rejected"],
            "other": PAIRS[(n + 1) % len(PAIRS)]["chosen"],
            "label": good,
        }
        for n, pair in enumerate(PAIRS)
        for good in (True, False)
    ]
    job = {
        "policy": str(other),
        "reference": str(tiny_model),
        "pairs": PAIRS,
        "singles": singles,
        "cases": {
            name: {"method": kind, "settings": settings} for name, (_, kind, settings) in CASES.items()
        },
    }
    theirs = asked_of_trl(job, tmp_path)
    policy, reference = (alone(folder) for folder in (other, tiny_model))
    for name, (method, _, _) in CASES.items():
        if isinstance(method, KTO):
            own = of_singles(policy, reference, method, singles)
        else:
            own = of_pairs(policy, reference, method)
        assert own == pytest.approx(theirs[name], rel=1e-5, abs=1e-5), name


@pytest.mark.skipif(not PEER, reason="WORKBENCH_PEER names no Python with TRL 1.12.0")
@torch.no_grad()
def test_nash_md_equals_trl_with_the_kl_of_single_tokens(tmp_path: Path, tiny_model: Path) -> None:
    """TRL weighs each token by its own log-ratio, the paper by that of the response: they differ by
    β Σ_t log π_t Σ_{s≠t} log π_s/π_ref,s, the mean over responses.
    """
    other = tiny_model_folder(tmp_path, seed=1)
    singles = [
        {"prompt": pair["prompt"], "response": pair[which], "win": win}
        for pair, win in zip(PAIRS, (0.9, 0.4, 0.55), strict=True)
        for which in ("chosen", "rejected")
    ]
    job = {
        "policy": str(other), "reference": str(tiny_model), "pairs": [], "singles": singles,
        "cases": {"nash": {"method": "nash_md", "settings": {"beta": 0.3}}},
    }  # fmt: skip
    theirs = asked_of_trl(job, tmp_path)["nash"]
    rows = [Row(single["prompt"], [single["response"]]) for single in singles]
    logprobs, ref = (alone(folder).forward(rows).logprobs for folder in (other, tiny_model))
    mask = logprobs != 0
    wins = torch.tensor([single["win"] for single in singles])
    token, whole = (
        float(nash_md(logprobs, ref, mask, wins, beta=0.3, kl=kl).mean()) for kl in ("token", "sequence")
    )
    assert token == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    apart = logprobs - ref
    others = ((apart.sum(dim=1, keepdim=True) - apart) * logprobs).sum(dim=1)
    assert whole - theirs == pytest.approx(0.3 * float(others.mean()), rel=1e-5, abs=1e-5)
    assert abs(whole - theirs) > 0.1


@pytest.mark.skipif(not PEER, reason="WORKBENCH_PEER names no Python with TRL 1.12.0")
@torch.no_grad()
def test_online_dpo_equals_a_training_step_of_trl(tmp_path: Path, tiny_model: Path) -> None:
    """Two samples a prompt, as many as TRL takes, whichever of them the reward prefers.

    There two samples of one reward are a pair too, the first one chosen; here nothing is learned from them.
    """
    other = tiny_model_folder(tmp_path, seed=1)
    pairs = [
        pair | {"rewards": rewards}
        for pair, rewards in zip(PAIRS, ([1.0, 0.2], [-1.0, 3.0], [0.5, 0.4]), strict=True)
    ]
    cases = {loss: {"method": "online_dpo", "settings": {"beta": 0.3, "loss_type": loss}}
             for loss in ("sigmoid", "ipo")}  # fmt: skip
    job = {
        "policy": str(other), "reference": str(tiny_model), "pairs": pairs, "singles": [], "cases": cases
    }  # fmt: skip
    theirs = asked_of_trl(job, tmp_path)
    rows = [Row(pair["prompt"], [pair["chosen"], pair["rejected"]]) for pair in pairs]
    logprobs, ref = (alone(folder).forward(rows).logprobs for folder in (other, tiny_model))
    groups = torch.tensor([0, 0, 1, 1, 2, 2])
    found = pairs_of(torch.tensor([r for pair in pairs for r in pair["rewards"]]), groups, best_worst=False)
    empty = torch.zeros(0)
    batch = MicroBatch(
        rows, empty, ref, empty, logprobs != 0, None, None, 0.3, Sums(tokens=1, responses=6),
        (found[:, 0], found[:, 1], torch.ones(len(found))),
    )  # fmt: skip
    ratio_n = torch.where(batch.mask, logprobs - ref, 0).sum(dim=1)
    for loss in ("sigmoid", "ipo"):
        config = OnlineDPOConfig(
            name="x", reward_model="rm", samples=2, reference="start", beta=0.3, loss=loss
        )
        own = float(OnlineDPO(config)._of_pairs(ratio_n, batch))
        assert own == pytest.approx(theirs[loss], rel=1e-5, abs=1e-5), loss
