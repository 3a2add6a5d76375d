"""Losses of TRL 1.12.0 on a given batch, as JSON.  Run by a Python that has TRL; needs nothing of this house.

Usage: python trl_losses.py JOB, a JSON file with `policy` and `reference` (model folders), `pairs` (lists of
prompt, chosen and rejected token ids), `singles` (prompt, response, response to another prompt, label) and
`cases` (name → method and settings).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from trl.experimental.cpo.cpo_trainer import CPOTrainer  # type: ignore[import-not-found,unused-ignore]
from trl.experimental.nash_md.nash_md_trainer import (  # type: ignore[import-not-found,unused-ignore]
    NashMDTrainer,
)
from trl.experimental.online_dpo.online_dpo_trainer import (  # type: ignore[import-not-found,unused-ignore]
    OnlineDPOTrainer,
)
from trl.experimental.orpo.orpo_trainer import ORPOTrainer  # type: ignore[import-not-found,unused-ignore]
from trl.trainer.dpo_trainer import DPOTrainer  # type: ignore[import-not-found,unused-ignore]
from trl.trainer.kto_trainer import (  # type: ignore[import-not-found,unused-ignore]
    DataCollatorForUnpairedPreference,
    KTOTrainer,
)


class Alone:
    """An accelerator of one process."""

    device = torch.device("cpu")

    def gather_for_metrics(self, x: Any) -> Any:
        return x

    gather = unwrap_model = gather_for_metrics

    def backward(self, loss: Any) -> None:
        """Losses alone are wanted."""


def bare(kind: Any, **settings: Any) -> Any:
    """A trainer without data, optimiser and setting up: what its loss reads."""
    trainer = kind.__new__(kind)
    common = {
        "accelerator": Alone(), "aux_loss_enabled": False, "is_encoder_decoder": False,
        "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)}, "_total_train_tokens": 0,
        "pad_token_id": 0, "padding_value": 0, "precompute_ref_logps": True,
        "label_smoothing": 0.0, "alpha": 0.0, "cpo_alpha": 1.0,
        "ld_alpha": None, "f_divergence_type": "reverse_kl", "use_weighting": False, "loss_weights": [1.0],
        "calculate_KL": True, "use_liger_kernel": False, "desirable_weight": 1.0, "undesirable_weight": 1.0,
        "args": SimpleNamespace(gradient_checkpointing=False, gradient_checkpointing_kwargs=None),
    }  # fmt: skip
    for name, value in (common | settings).items():
        object.__setattr__(trainer, name, value)
    return trainer


def padded(sequences: list[list[int]], pad: int) -> torch.Tensor:
    width = max(map(len, sequences))
    return torch.tensor([ids + [pad] * (width - len(ids)) for ids in sequences])


def sums(model: Any, prompts: list[list[int]], responses: list[list[int]]) -> torch.Tensor:
    """log π of each response, summed."""
    found = []
    for prompt, response in zip(prompts, responses, strict=True):
        logits = model(torch.tensor([prompt + response])).logits[0].log_softmax(-1)
        picked = logits[len(prompt) - 1 : -1].gather(1, torch.tensor(response)[:, None])
        found.append(picked.sum())
    return torch.stack(found)


def dpo(job: dict[str, Any], policy: Any, reference: Any, settings: dict[str, Any]) -> float:
    prompts = [pair["prompt"] for pair in job["pairs"]]
    chosen, rejected = ([pair[name] for pair in job["pairs"]] for name in ("chosen", "rejected"))
    ids = [p + y for p, y in zip(prompts * 2, chosen + rejected, strict=True)]
    marks = [[0] * len(p) + [1] * len(y) for p, y in zip(prompts * 2, chosen + rejected, strict=True)]
    inputs = {
        "input_ids": padded(ids, 0),
        "attention_mask": padded([[1] * len(x) for x in ids], 0),
        "completion_mask": padded(marks, 0),
        "ref_chosen_logps": sums(reference, prompts, chosen),
        "ref_rejected_logps": sums(reference, prompts, rejected),
    }
    trainer = bare(DPOTrainer, model=policy, **settings)
    return float(trainer._compute_loss(policy, inputs, False))


def kto(job: dict[str, Any], policy: Any, reference: Any, settings: dict[str, Any]) -> float:
    names = {
        "prompt_ids": "prompt", "completion_ids": "response", "KL_completion_ids": "other", "label": "label"
    }  # fmt: skip
    examples = [{theirs: single[ours] for theirs, ours in names.items()} for single in job["singles"]]
    batch = DataCollatorForUnpairedPreference(pad_token_id=0)(examples)
    prompts = [s["prompt"] for s in job["singles"]]
    batch["ref_logps"] = sums(reference, prompts, [s["response"] for s in job["singles"]])
    batch["ref_KL_logps"] = sums(reference, prompts, [s["other"] for s in job["singles"]])
    trainer = bare(KTOTrainer, model=policy, loss_type="kto", **settings)
    return float(trainer._compute_loss(policy, batch, False))


def concatenated(job: dict[str, Any]) -> dict[str, torch.Tensor]:
    batch: dict[str, torch.Tensor] = {}
    for name in ("chosen", "rejected"):
        ids = [pair["prompt"] + pair[name] for pair in job["pairs"]]
        labels = [[-100] * len(pair["prompt"]) + pair[name] for pair in job["pairs"]]
        batch |= {
            f"{name}_input_ids": padded(ids, 0),
            f"{name}_attention_mask": padded([[1] * len(x) for x in ids], 0),
            f"{name}_labels": padded(labels, -100),
        }
    return batch


def cpo(job: dict[str, Any], policy: Any, reference: Any, settings: dict[str, Any]) -> float:
    loss, _ = bare(CPOTrainer, **settings).get_batch_loss_metrics(policy, concatenated(job))
    return float(loss)


def orpo(job: dict[str, Any], policy: Any, reference: Any, settings: dict[str, Any]) -> float:
    """Without its imitation, which in TRL reads the prompt too."""
    loss, metrics = bare(ORPOTrainer, **settings).get_batch_loss_metrics(policy, concatenated(job))
    return float(loss) - metrics["nll_loss"]


def nash_md(job: dict[str, Any], policy: Any, reference: Any, settings: dict[str, Any]) -> float:
    """Of single responses whose chance to win is given."""
    trainer = bare(NashMDTrainer, ref_model=reference, _beta=settings["beta"])
    losses = []
    for single in job["singles"]:  # one by one: TRL pads prompts on the left, and no two are equally long
        ids = torch.tensor([single["prompt"] + single["response"]])
        data = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        logprobs = trainer._compute_logprobs(policy, data, len(single["prompt"]))
        losses.append(trainer._compute_losses(*logprobs, torch.tensor([single["win"]]))[0])
    return float(torch.stack(losses).mean())


def online_dpo(job: dict[str, Any], policy: Any, reference: Any, settings: dict[str, Any]) -> float:
    """A whole training step, of completions and rewards that are given."""
    arguments = SimpleNamespace(
        use_vllm=False, missing_eos_penalty=None, loss_type=settings["loss_type"], optim="", n_gpu=1,
        torch_empty_cache_steps=None, gradient_accumulation_steps=1,
    )  # fmt: skip
    words = SimpleNamespace(eos_token_id=2, batch_decode=lambda ids, **_: [""] * len(ids))
    losses = []
    for pair in job["pairs"]:  # one by one: prompts are padded on the left there
        two = [pair["chosen"], pair["rejected"]]
        prompts = torch.tensor([pair["prompt"]] * 2)
        generated = (
            prompts,
            torch.ones_like(prompts),
            padded(two, 0),
            padded([[1] * len(y) for y in two], 0),
        )
        trainer = bare(
            OnlineDPOTrainer, args=arguments, ref_model=reference, max_length=512, _beta=settings["beta"],
            is_vision_model=False, processing_class=words, _tokenizer=words, reward_funcs=[None],
            stats=defaultdict(list), state=SimpleNamespace(global_step=1, epoch=0),
            _generate=lambda *_, given=generated: given,
            _calculate_rewards_from_functions=lambda given=pair["rewards"], **_: torch.tensor(given),
        )  # fmt: skip
        losses.append(trainer.training_step(policy, {"prompt": [""]}))
    return float(torch.stack(losses).mean())


METHODS = {"online_dpo": online_dpo, "nash_md": nash_md, "dpo": dpo, "kto": kto, "cpo": cpo, "orpo": orpo}


@torch.no_grad()
def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    policy, reference = (
        AutoModelForCausalLM.from_pretrained(job[name], dtype=torch.float32).eval()
        for name in ("policy", "reference")
    )
    losses = {
        name: METHODS[case["method"]](job, policy, reference, case["settings"])
        for name, case in job["cases"].items()
    }
    print(json.dumps(losses))


if __name__ == "__main__":
    main()
