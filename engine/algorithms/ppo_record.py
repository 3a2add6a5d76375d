"""What a PPO step leaves behind: metrics, rollouts, token traces, and a broken batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from engine.algorithms.checkpoint import save_failed_batch
from engine.algorithms.ppo_models import Models
from engine.algorithms.ppo_rollout import Measured, Rollout, Targets
from engine.algorithms.ppo_update import UpdateStats
from engine.objectives.advantages import masked_mean
from engine.objectives.value import explained_variance
from engine.protocol.events import Output
from engine.protocol.rundir import RunDir


def rollout_metrics(rollout: Rollout, measured: Measured, targets: Targets, beta: float) -> dict[str, float]:
    """Means over responses, or over response tokens; padding is never counted."""
    mask_N_T = rollout.mask
    return {
        "ppo/score": float(measured.scores.mean()),
        "ppo/reward": float(targets.rewards.sum(dim=1).mean()),
        "ppo/kl": targets.kl_a_response,
        "ppo/kl_token": float(masked_mean(targets.kl, mask_N_T)),
        "ppo/entropy": float(masked_mean(measured.entropy, mask_N_T)),
        "ppo/ratio_max_deviation": measured.ratio_max_deviation,
        "ppo/explained_variance": explained_variance(measured.values, targets.returns, mask_N_T),
        "ppo/length": float(mask_N_T.sum(dim=1).float().mean()),
        "ppo/stopped": float(rollout.stopped.float().mean()),
        "ppo/beta": beta,
    }


def update_metrics(stats: UpdateStats, learning_rate: float) -> dict[str, float]:
    """Means over the minibatches of the update."""
    count = len(stats.minibatches)
    steps = max(1, len(stats.grad_norms))
    return {
        "ppo/ratio_mean": stats.mean("ratio"),
        "ppo/clip_fraction": stats.mean("clipped"),
        "ppo/update_kl": stats.mean("kl"),
        "ppo/policy_loss": sum(m.policy_loss for m in stats.minibatches) / count,
        "ppo/value_loss": sum(m.value_loss for m in stats.minibatches) / count,
        "ppo/grad_norm": sum(stats.grad_norms) / steps,
        "ppo/critic_grad_norm": sum(stats.critic_grad_norms) / steps,
        "ppo/optimiser_steps": float(len(stats.grad_norms)),
        "ppo/learning_rate": learning_rate,
    }


def write_rollouts(run: RunDir, step: int, rollout: Rollout, measured: Measured, targets: Targets) -> Output:
    """One row a response; `reward` is what the loss saw, summed over the response."""
    rewards, kls = targets.rewards.sum(dim=1), targets.kl.sum(dim=1)
    rows = [
        {
            "step": step,
            "prompt_id": rollout.prompt_of(n).prompt_id,
            "sample_index": response.sample_index,
            "text": rollout.texts[n],
            "score": float(measured.scores[n]),
            "reward": float(rewards[n]),
            "kl": float(kls[n]),
            "tokens": len(response.token_ids),
            "stopped": response.stopped,
        }
        for n, response in enumerate(rollout.sampled)
    ]
    path = run.output_path("rollouts", step)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return Output(kind="rollouts", path=run.relative(path), rows=len(rows), step=step)


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
        "value": measured.values,
        "advantage": targets.advantages,
        "return": targets.returns,
        "ratio": stats.ratio,
    }
    rows = []
    for n, response in enumerate(rollout.sampled):
        pieces = models.tokeniser.pieces(response.token_ids)
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
            )
    path = run.trace_path(step)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return Output(kind="traces", path=run.relative(path), rows=len(rows), step=step)


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
        "values": measured.values,
        "rewards": targets.rewards,
        "advantages": targets.advantages,
        "returns": targets.returns,
        "prompt_index": torch.tensor([response.prompt_index for response in rollout.sampled]),
    }
    prompts = {prompt.prompt_id: prompt.tokens for prompt in rollout.prompts}
    return str(save_failed_batch(run, step, tensors, {"prompts": prompts, **details}))
