"""Policies that learn against proxies of a gold reward model: how far each goes, and what that is worth.

RLOO (`policy_learning.rloo`) with adapters, from the first policy anew for each proxy.  A point of a curve is
the rollout of a step, before its update: its KL to the first policy, what the proxy and the gold model say of
it, its length, and how often the judge prefers it to the first policy's samples of its prompt.  What is done
lies in a file for each proxy, so a resumed run goes on behind it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.errors import NonFiniteError
from engine.files import write_atomic
from engine.jobs.overoptimise_proxies import Held, Proxy, ProxyKey, beaten
from engine.left_out import LeftOutTexts
from engine.models.features import FEATURE_TOKENS
from engine.models.reward_model import RewardModel
from engine.policy_learning.best_of_n import SAMPLED
from engine.policy_learning.models import ADAM_EPS, BATCH_SEQUENCES, Models
from engine.policy_learning.prompts import Prompts
from engine.policy_learning.record import sample_row
from engine.policy_learning.rewards.parts import Conversation, ModelPart
from engine.policy_learning.rloo import RLOO
from engine.policy_learning.rollout import Measured, Rollout, Targets, check_sampler, collect, measure
from engine.policy_learning.update import BrokenUpdateError, Update
from engine.protocol.configs import OveroptimiseConfig, RLOOConfig
from engine.protocol.configs.overoptimise import PLAIN
from engine.protocol.events import Event, Metrics, Progress
from engine.protocol.rewards import Component
from engine.protocol.rundir import RunDir
from engine.tables import write_output
from engine.training.guards import MicroBatchSize
from engine.training.optimiser import MasterAdam
from engine.training.policy import load_trainable_policy

Summary = dict[str, float | int | str | None]


def learned(
    config: OveroptimiseConfig,
    run: RunDir,
    folder: Path,
    held: Held,
    proxies: Mapping[ProxyKey, Proxy],
    judge: RewardModel,
) -> Generator[Event, None, Summary]:
    """A curve for each proxy; the summary says what the last step is worth by each number of labels.

    Raises NonFiniteError where a loss breaks.
    """
    last: dict[int, list[float]] = {}
    for number, (way, proxy) in enumerate(proxies.items()):
        learner = Learner(config, config.learning(way.replicate), way, proxy, held, judge)
        path = run.path / "curves" / f"{str(way).replace('/', '-').replace(':', '-')}.json"
        if not path.is_file():
            first = 2 + number * config.steps
            points = yield from learner.points(folder, run, first)
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, json.dumps(points).encode())
        points = json.loads(path.read_text())
        for step, point in enumerate(points, 1):
            yield Metrics(step=step, values={way.metric("rl", name): value for name, value in point.items()})
        if way.variant == PLAIN:
            last.setdefault(way.labels, []).append(points[-1]["gold"])
        yield Progress(stage="learning from proxies", done=number + 1, total=len(proxies), unit="policies")
    return {f"learned_gold_of_{count}_labels": sum(all_) / len(all_) for count, all_ in last.items()}


@dataclass(frozen=True)
class Learner:
    """One policy and the proxy that it learns from."""

    config: OveroptimiseConfig
    settings: RLOOConfig
    way: ProxyKey
    proxy: Proxy
    held: Held
    judge: RewardModel

    def points(self, folder: Path, run: RunDir, first: int) -> Generator[Event, None, list[dict[str, float]]]:
        """The figures of every step; the rollouts are written as those of steps `first`, `first` + 1, …"""
        settings, algorithm = self.settings, RLOO(self.settings)
        models = self._models(folder)
        prompts = Prompts(self.held.prompts, LeftOutTexts(), [])
        points = []
        for step in range(settings.steps):
            stage = f"proxy {self.way}, step {step + 1} of {settings.steps}"
            chosen = prompts.of_step(step, settings.prompts_per_step, settings.seed)
            key = ("over-optimisation", settings.seed, str(self.way), step)
            rollout = yield from collect(models, chosen, settings, *key, stage=stage)
            measured = yield from measure(models, rollout, with_gold=True)
            check_sampler(models, rollout, measured)
            final_N = models.rewards.combined(measured.scored, self.proxy.scale, rollout.groups)
            targets = algorithm.advantages(rollout, measured, final_N, settings.beta)
            point, rows = self._figures(rollout, measured, targets, final_N, first + step)
            points.append(point)
            path = run.output_path("rollouts", first + step)
            yield write_output(run, path, "rollouts", SAMPLED, rows, first + step)
            update = Update(algorithm, models, rollout, measured, targets, settings.beta, settings, step)
            yield from self._guarded(update)
        return points

    def _models(self, folder: Path) -> Models:
        settings = self.settings
        policy = load_trainable_policy(
            folder, dtype=settings.dtype, device=settings.device, lora_rank=settings.lora_rank,
            seed=settings.seed, temperature=settings.temperature,
        )  # fmt: skip
        return Models(
            policy=policy,
            critic=None,
            rewards=self.proxy.rewards,
            optimisers={"policy": MasterAdam(policy.model, eps=ADAM_EPS)},
            peaks={"policy": settings.peak_learning_rate},
            microbatches={
                "sampling": MicroBatchSize(min(BATCH_SEQUENCES, self.config.batch_sequences), "sequences"),
                "scoring": MicroBatchSize(FEATURE_TOKENS, "tokens"),
                "training": MicroBatchSize(settings.microbatch, "sequences"),
            },
        )

    def _guarded(self, update: Update) -> Iterator[Event]:
        """The update; one that breaks says against which proxy."""
        try:
            yield from update.run()
        except BrokenUpdateError as broken:
            raise NonFiniteError(
                f"Learning against the proxy {self.way} broke in step {update.step + 1} ({broken}); lower "
                "learning_rate."
            ) from broken

    def _figures(
        self, rollout: Rollout, measured: Measured, targets: Targets, final_N: torch.Tensor, number: int
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Means over the responses of a step, and a row for each."""
        held, ids = self.held, [rollout.prompt_of(n).prompt_id for n in range(len(rollout.sampled))]
        assert measured.gold is not None
        place = {prompt.prompt_id: index for index, prompt in enumerate(held.prompts)}
        groups = torch.tensor([place[one] for one in ids])
        judged_N = self._judged(rollout)
        lengths_N = rollout.mask.sum(dim=1).double()
        figures = {
            "kl": targets.kl_a_response,
            "proxy": float(self.proxy.yardstick.of(final_N.double().numpy(), ids).mean()),
            "gold": float(held.gold.of(measured.gold.double().numpy(), ids).mean()),
            "length": float(lengths_N.mean()),
            "wins": float(beaten(judged_N, groups, held.judge_scores, torch.from_numpy(held.groups)).mean()),
        }
        kl_N = targets.kl.sum(dim=1)
        rows = [
            sample_row(
                number,
                ids[n],
                one,
                rollout.texts[n],
                score=float(measured.gold[n]),
                reward=float(final_N[n]),
                kl=float(kl_N[n]),
                components={
                    "gold": float(measured.gold[n]),
                    "judge": float(judged_N[n]),
                    str(self.way): float(final_N[n]),
                },
            )
            | {"cut": bool(measured.cut[n])}
            for n, one in enumerate(rollout.sampled)
        ]
        return figures, rows

    def _judged(self, rollout: Rollout) -> Any:
        """[N] the judge's scores."""
        part = ModelPart(Component("judge"), self.judge, 0, by_member=False)
        said: list[Conversation] = [
            rollout.prompt_of(n).conversation(text, one.token_ids)
            for n, (one, text) in enumerate(zip(rollout.sampled, rollout.texts, strict=True))
        ]
        return part.members(said, FEATURE_TOKENS)[0].double().numpy()
