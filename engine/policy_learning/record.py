"""What a step of policy learning leaves behind: metrics, rollouts, token traces, and a broken batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch

from engine.objectives.advantages import masked_mean
from engine.objectives.preference import intransitive_share
from engine.objectives.value import explained_variance
from engine.policy_learning.models import Models
from engine.policy_learning.rollout import Measured, Rollout, Targets
from engine.policy_learning.update import UpdateStats
from engine.protocol.events import Output
from engine.protocol.rundir import RunDir
from engine.rollout import Sampled
from engine.tables import write_output
from engine.training.checkpoint import save_failed_batch

TRACES = pa.schema(
    [
        ("step", pa.int64()),
        ("prompt_id", pa.string()),
        ("sample_index", pa.int64()),
        ("position", pa.int64()),
        ("token_id", pa.int64()),
        ("token", pa.string()),
        *(
            (name, pa.float64())
            for name in ("logprob", "ref_logprob", "kl", "reward", "value", "advantage", "return", "ratio")
        ),
    ]
)


def rollout_metrics(rollout: Rollout, measured: Measured, targets: Targets, beta: float) -> dict[str, float]:
    """Means over responses, or over response tokens; padding is never counted."""
    mask_N_T = rollout.mask
    metrics = {
        "policy/score": float(measured.scores.mean()),
        "policy/reward": float(targets.rewards.sum(dim=1).mean()),
        "policy/kl": targets.kl_a_response,
        "policy/kl_token": float(masked_mean(targets.kl, mask_N_T)),
        "policy/entropy": float(masked_mean(measured.entropy, mask_N_T)),
        "policy/ratio_max_deviation": measured.ratio_max_deviation,
        "policy/length": float(mask_N_T.sum(dim=1).float().mean()),
        "policy/stopped": float(rollout.stopped.float().mean()),
        "policy/cut": float(measured.cut.float().mean()),
        "policy/beta": beta,
    }
    metrics |= {f"reward/{name}": float(scores.mean()) for name, scores in measured.scored.components.items()}
    metrics |= {name: float(values.mean()) for name, values in measured.scored.aside.items()}
    if measured.step_rewards is not None:
        metrics["policy/step_reward"] = float(measured.step_rewards.sum(dim=1).mean())
        metrics["policy/reward_steps"] = float((measured.step_rewards != 0).sum(dim=1).float().mean())
    metrics |= {f"cost/{name}": float(cost_N.mean()) for name, cost_N in measured.scored.costs.items()}
    if measured.wins is not None:
        metrics["policy/intransitive"] = intransitive_share(measured.wins, rollout.groups)
    if measured.gold is not None:
        metrics["policy/gold"] = float(measured.gold.mean())
    if measured.values is not None and targets.returns is not None:
        metrics["policy/explained_variance"] = explained_variance(measured.values, targets.returns, mask_N_T)
    return metrics


def update_metrics(stats: UpdateStats, learning_rate: float) -> dict[str, float]:
    """Means over the minibatches of the update."""
    count = len(stats.minibatches)
    metrics = {
        "policy/ratio_mean": stats.mean("ratio"),
        "policy/clip_fraction": stats.mean("clipped"),
        "policy/update_kl": stats.mean("kl"),
        "policy/policy_loss": sum(m.policy_loss for m in stats.minibatches) / count,
        "policy/optimiser_steps": float(count - stats.stopped_early),
        "policy/learning_rate": learning_rate,
    }
    if any(m.entropy_loss for m in stats.minibatches):
        metrics["policy/entropy_loss"] = sum(m.entropy_loss for m in stats.minibatches) / count
    if all(m.kl_loss is not None for m in stats.minibatches):
        metrics["policy/kl_loss"] = sum(m.kl_loss or 0.0 for m in stats.minibatches) / count
    if "critic" in stats.grad_norms:
        metrics["policy/value_loss"] = sum(m.value_loss for m in stats.minibatches) / count
    for name, norms in stats.grad_norms.items():
        key = "policy/grad_norm" if name == "policy" else f"policy/{name}_grad_norm"
        metrics[key] = sum(norms) / max(1, len(norms))
    return metrics


def sample_row(
    step: int,
    prompt_id: str,
    response: Sampled,
    text: str,
    *,
    score: float,
    reward: float,
    kl: float | None,
    components: Mapping[str, float],
) -> dict[str, Any]:
    """One response as a row of the table `rollouts`; `components` are the parts of its reward by name."""
    return {
        "step": step,
        "prompt_id": prompt_id,
        "sample_index": response.sample_index,
        "text": text,
        "score": score,
        "reward": reward,
        "kl": kl,
        "tokens": len(response.token_ids),
        "stopped": response.stopped,
        "components": json.dumps(components),
    }


def write_rollouts(run: RunDir, step: int, rollout: Rollout, measured: Measured, targets: Targets) -> Output:
    """One row a response; `reward` is what the loss saw, summed over the response."""
    rewards, kls = targets.rewards.sum(dim=1), targets.kl.sum(dim=1)
    components = measured.scored.components | measured.scored.costs
    rows = [
        sample_row(
            step,
            rollout.prompt_of(n).prompt_id,
            response,
            rollout.texts[n],
            score=float(measured.scores[n]),
            reward=float(rewards[n]),
            kl=float(kls[n]),
            components={name: float(scores[n]) for name, scores in components.items()},
        )
        for n, response in enumerate(rollout.sampled)
    ]
    path = run.output_path("rollouts", step)
    return write_output(run, path, "rollouts", None, rows, step)


def write_traces(
    run: RunDir,
    step: int,
    models: Models,
    rollout: Rollout,
    measured: Measured,
    targets: Targets,
    stats: UpdateStats,
) -> Output:
    """One row a response token: everything the loss saw of it; `ratio` is that of the last epoch."""
    columns = {
        "logprob": measured.logprobs,
        "ref_logprob": measured.ref_logprobs,
        "kl": targets.kl,
        "reward": targets.rewards,
        "advantage": targets.advantages,
        "ratio": stats.ratio,
    }
    if measured.values is not None and targets.returns is not None:
        columns |= {"value": measured.values, "return": targets.returns}
    absent = {name: None for name in ("value", "return") if name not in columns}
    rows = []
    for n, response in enumerate(rollout.sampled):
        pieces = models.policy.tokeniser.pieces(response.token_ids)
        for position, token_id in enumerate(response.token_ids):
            rows.append(
                {
                    "step": step,
                    "prompt_id": rollout.prompt_of(n).prompt_id,
                    "sample_index": response.sample_index,
                    "position": position,
                    "token_id": token_id,
                    "token": pieces[position],
                }
                | {name: float(values[n, position]) for name, values in columns.items()}
                | absent
            )
    path = run.trace_path(step)
    return write_output(run, path, "traces", TRACES, rows, step)


def keep_batch(
    run: RunDir,
    step: int,
    rollout: Rollout,
    measured: Measured,
    targets: Targets,
    details: Mapping[str, Any],
) -> str:
    """Save the rollout that the run broke on, for replay; returns its folder as the person finds it."""
    tensors = {
        "tokens": rollout.tokens,
        "mask": rollout.mask,
        "sampled_logprobs": rollout.sampled_logprobs,
        "scores": measured.scores,
        "logprobs": measured.logprobs,
        "ref_logprobs": measured.ref_logprobs,
        "rewards": targets.rewards,
        "advantages": targets.advantages,
        "prompt_index": torch.tensor([response.prompt_index for response in rollout.sampled]),
    }
    if measured.values is not None and targets.returns is not None:
        tensors |= {"values": measured.values, "returns": targets.returns}
    prompts = {prompt.prompt_id: prompt.tokens for prompt in rollout.prompts}
    return str(save_failed_batch(run, step, tensors, {"prompts": prompts, **details}))
