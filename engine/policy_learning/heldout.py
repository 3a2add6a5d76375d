"""Prompts that a policy does not learn on, and how it does on them while it learns.

Each evaluation samples with the same random numbers, which are its own: two evaluations differ by the policy
alone, and training goes on as if there had been none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pyarrow as pa
from torch import Tensor

from engine.policy_learning.models import Models
from engine.policy_learning.prompts import Prompt, Prompts
from engine.policy_learning.rewards.score_scale import ScoreScale
from engine.policy_learning.rollout import Measured, Rollout, collect, kl_of, measure, shaped
from engine.protocol.configs import PolicyLearningConfig
from engine.protocol.events import Event, Metrics
from engine.protocol.rundir import RunDir
from engine.tables import write_output
from engine.training.checkpoint import stable_hash

EVALUATED = pa.schema(
    [
        ("step", pa.int64()),
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("text", pa.string()),
        ("score", pa.float64()),
        ("objective", pa.float64()),
        ("gold", pa.float64()),
        ("kl", pa.float64()),
        ("tokens", pa.int32()),
        ("stopped", pa.bool_()),
        ("components", pa.string()),
    ]
)


def due(config: PolicyLearningConfig, step: int) -> bool:
    """Whether the policy of so many steps is evaluated: before the first, every few, after the last."""
    return step in config.evaluations()


def chosen(prompts: Prompts, config: PolicyLearningConfig) -> list[Prompt]:
    """The held-out prompts that are evaluated, the same each time."""
    order = sorted(
        prompts.heldout, key=lambda p: (stable_hash("held out", config.seed, p.prompt_id), p.prompt_id)
    )
    return order[: config.evaluate_prompts]


def evaluate(
    models: Models,
    prompts: Prompts,
    scale: ScoreScale,
    multipliers: Mapping[str, float],
    config: PolicyLearningConfig,
    run: RunDir,
    step: int,
) -> Iterator[Event]:
    """Metrics `heldout/*` of the policy after `step` steps, and its responses."""
    microbatches = {name: replace(microbatch) for name, microbatch in models.microbatches.items()}
    models = replace(models, critic=None, microbatches=microbatches)
    key = ("held out", config.seed)
    rollout = yield from collect(models, chosen(prompts, config), config, *key, stage="evaluating")
    measured = yield from measure(models, rollout, with_gold=True)
    objective_N = models.rewards.objective(
        measured.scored, scale, stopped_N=rollout.stopped, group_N=rollout.groups,
        penalty=config.missing_stop_penalty, multipliers=multipliers,
    )  # fmt: skip
    objective_N = shaped(objective_N, rollout, config)
    kl_N = kl_of(rollout, measured).sum(dim=1)
    values = {
        "heldout/score": float(measured.scores.mean()),
        "heldout/objective": float(objective_N.mean()),
        "heldout/kl": float(kl_N.mean()),
        "heldout/length": float(rollout.mask.sum(dim=1).float().mean()),
        "heldout/stopped": float(rollout.stopped.float().mean()),
        "heldout/entropy": float(measured.entropy[rollout.mask].mean()),
        "heldout/cut": float(measured.cut.float().mean()),
    }
    if measured.gold is not None:
        values["heldout/gold"] = float(measured.gold.mean())
    rows = _rows(rollout, measured, objective_N, kl_N, step)
    yield write_output(run, run.output_path("evaluations", step), "evaluations", EVALUATED, rows)
    yield Metrics(step=step, values=values)


def _rows(
    rollout: Rollout, measured: Measured, objective_N: Tensor, kl_N: Tensor, step: int
) -> list[dict[str, object]]:
    components, gold = measured.scored.components, measured.gold
    return [
        {
            "step": step,
            "prompt_id": rollout.prompt_of(n).prompt_id,
            "sample_index": response.sample_index,
            "text": rollout.texts[n],
            "score": float(measured.scores[n]),
            "objective": float(objective_N[n]),
            "gold": None if gold is None else float(gold[n]),
            "kl": float(kl_N[n]),
            "tokens": len(response.token_ids),
            "stopped": response.stopped,
            "components": json.dumps({name: float(scores[n]) for name, scores in components.items()}),
        }
        for n, response in enumerate(rollout.sampled)
    ]
