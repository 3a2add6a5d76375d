"""The models of policy learning: policy, reference policy, critic, rewards.

With adapters there are two sets of weights: the reference is the policy without its adapters, and the reward
model that the critic started from is the critic without its adapters; a shared critic, or none, leaves the
policy alone beside the reward models.  With full tuning the reference, and a separate critic, are copies.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.endpoints.tinker import TrainingServer
from engine.errors import UsageError
from engine.models.activations import keep_of_passes
from engine.models.device import resolve_device
from engine.models.features import FEATURE_TOKENS
from engine.models.operations import Shape
from engine.models.packing import Row
from engine.models.peak import best_rate
from engine.models.policy import load_policy
from engine.models.reward_model import RewardModel, load_reward_model
from engine.models.sharding import shard
from engine.models.trunk import Trunk, head_scores, make_trainable
from engine.policy_learning.ahead import Ahead
from engine.policy_learning.rewards.parts import RewardModels
from engine.policy_learning.rewards.rewards import Rewards, load_rewards
from engine.policy_learning.served import ServedPolicy
from engine.protocol.configs import PolicyLearningConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir
from engine.rollout import Server
from engine.training.effort import Effort
from engine.training.guards import MicroBatchSize
from engine.training.optimiser import MasterAdam
from engine.training.policy import Policy, PolicyOutputs, load_trainable_policy

ADAM_EPS = 1e-5  # Blog, "Adam learning rate and epsilon"
BATCH_SEQUENCES = 64  # sampled at once


@dataclass
class Critic:
    """Values of states: a head on a trunk of its own, or on the states of the policy."""

    head: nn.Linear
    trunk: Trunk | None  # None: it reads the states that the policy's pass gave

    def values(self, rows: list[Row], outputs: PolicyOutputs) -> Tensor:
        """Value of the state before every response token, [N, T] float32, 0 beyond the responses."""
        states = outputs.states if self.trunk is None else self.trunk.states(rows, "before")
        return torch.where(states.mask, head_scores(self.head, states.hidden), 0)

    @torch.no_grad()
    def calibrate(self, scale: float, shift: float) -> None:
        """Turn the value v into scale·v + shift."""
        self.head.weight.mul_(scale)
        self.head.bias.mul_(scale).add_(shift)


class PolicyElsewhere(Protocol):
    """What samples, measures and updates a policy whose weights are not here; see `remote`."""

    @property
    def server(self) -> TrainingServer:
        """Who holds the weights."""

    def save(self) -> str:
        """Have weights and optimiser kept, for `load`."""

    def load(self, path: str) -> None:
        """Go on from what was kept."""

    def collect(self, *asked: Any, **more: Any) -> Generator[Event, None, Any]:
        """1. of a step: a rollout."""

    def measure(self, *asked: Any, **more: Any) -> Generator[Event, None, Any]:
        """2. of a step: scores and log-probabilities of a rollout."""

    def update(self, *asked: Any, **more: Any) -> Generator[Event, None, Any]:
        """4. of a step: what `Update.run` gives."""


@dataclass
class Models:
    """Everything with weights, and what trains them."""

    policy: Policy
    critic: Critic | None
    rewards: Rewards
    optimisers: dict[str, MasterAdam]
    peaks: dict[str, float]  # learning rate of each optimiser before it is annealed
    microbatches: dict[str, MicroBatchSize]  # how much goes through at once when sampling, scoring, training
    served: ServedPolicy | None = None  # where responses come from, if not from here
    effort: Effort | None = None  # what the operations of a step are counted by
    remote: PolicyElsewhere | None = None  # what samples and trains the policy, if it is not here

    def close(self) -> None:
        """Nothing that a server samples ahead is waited for, and no judge is asked any more."""
        self.rewards.close()
        if self.served is not None:
            self.served.ahead.give_up()
        if self.remote is not None:
            self.remote.server.http.close()

    @property
    def positions(self) -> int | None:
        """Longest prompt and response together that the policy reads; None where it does not say."""
        if self.remote is not None:
            return None
        size: Any = self.policy.model.config
        return getattr(size.get_text_config(), "max_position_embeddings", None)

    @property
    def critic_trunk(self) -> Trunk | None:
        """The trunk of a critic of its own."""
        return None if self.critic is None else self.critic.trunk

    def idle(self, *, learning: bool) -> None:
        """What other ranks wait for where weights are divided: passes that leave nothing behind."""
        self.policy.idle(learning=learning)
        if not learning:
            self.policy.idle_reference()
        if self.critic_trunk is not None:
            self.critic_trunk.idle(learning=learning)

    @property
    def device(self) -> torch.device:
        """Where the policy lies, and with it everything that is compared to it."""
        return self.policy.trunk.device if self.remote is None else torch.device("cpu")


def load_models(
    config: PolicyLearningConfig, folders: Mapping[str, Path], run: RunDir, *, critic: str | None = None
) -> Models:
    """Load the models, folders by role, and choose what is trained.

    critic: “separate”, “shared” or None.  Raises UsageError when reward model and policy do not share their
    tokens: a separate critic, which starts from the reward model, reads the policy's tokens.
    """
    device, rank = resolve_device(config.device), config.lora_rank if config.tuning == "lora" else None
    policy = load_trainable_policy(
        folders["policy"], dtype=config.dtype, device=config.device, lora_rank=rank, seed=config.seed,
        temperature=config.temperature, sharding=config.sharding, activations=config.activations,
        base=config.base,
    )  # fmt: skip
    rewards = load_rewards(config, folders, policy.tokeniser, RewardModels(config.dtype, device), run)
    optimisers = {"policy": MasterAdam(policy.model, eps=ADAM_EPS)}
    made: Critic | None = None
    parts: dict[str, nn.Module] = {}
    if critic == "shared":
        made = Critic(_value_head(policy.trunk, device), None)
    elif critic == "separate":
        made, parts = _separate_critic(config, folders, policy, rewards.main, rank)
        if policy.divided and made.trunk is not None:
            assert isinstance(made.trunk.module, PreTrainedModel)
            shard(made.trunk.module, device)
    if made is not None:
        trained = nn.ModuleDict({"value": made.head, **parts})
        optimisers["critic"] = MasterAdam(trained, eps=ADAM_EPS)
    return Models(
        policy=policy,
        critic=made,
        rewards=rewards,
        optimisers=optimisers,
        peaks={
            "policy": config.peak_learning_rate,
            "critic": getattr(config, "critic_peak_learning_rate", 0.0),
        },
        microbatches={
            "sampling": MicroBatchSize(BATCH_SEQUENCES, "sequences"),
            "scoring": MicroBatchSize(FEATURE_TOKENS, "tokens"),
            "training": MicroBatchSize(config.microbatch, "sequences", together=policy.divided),
        },
        effort=_effort(policy, made, device),
    )


def _effort(policy: Policy, critic: Critic | None, device: torch.device) -> Effort:
    """Of weights that are divided nothing is counted: their parts are not their sizes."""
    trunk = None if critic is None or critic.trunk is None else critic.trunk.module
    own = Shape.of(trunk, logits=False) if isinstance(trunk, PreTrainedModel) else None
    counts = not policy.divided and (trunk is None or own is not None)
    return Effort(
        Shape.of(policy.model, logits=True) if counts else None,
        own,
        best_rate(device, policy.model.dtype) if counts else None,
    )


def served_policy(models: Models, config: PolicyLearningConfig, run: RunDir, folder: Path) -> ServedPolicy:
    """The servers at `endpoint`, which sample in the place of this process.  Raises as `Server.connect`."""
    names = [str(folder), run.model("policy").name, run.model("policy").folder]
    size: Any = models.policy.model.config
    server = replace(
        Server.connect(config.endpoint, names),
        processed=True,
        vocabulary=size.get_text_config().vocab_size,
    )
    ahead = Ahead(config.staleness)
    return ServedPolicy(server, models.policy, models.optimisers["policy"], run, ahead=ahead)


def _separate_critic(
    config: PolicyLearningConfig,
    folders: Mapping[str, Path],
    policy: Policy,
    main: RewardModel | None,
    rank: int | None,
) -> tuple[Critic, dict[str, nn.Module]]:
    """A critic on the first reward model's trunk; without one, on the policy's own weights from zero."""
    device = resolve_device(config.device)
    if main is None:
        copy = load_policy(folders["policy"], config.dtype, device)
        trunk, start = Trunk.of(copy, policy.tokeniser.pad_id, device), None
    else:
        folder = _folder_of_main(config, folders)
        if _vocabulary(folders["policy"]) != _vocabulary(folder):
            raise UsageError(
                f"The policy {config.policy} and the reward model in {folder.name} have different "
                "tokenisers, so a critic that starts from it could not read the policy's tokens; set critic "
                "to shared, or train a reward model from the policy's own family."
            )
        own = main if rank is not None else load_reward_model(folder, config.dtype, device)
        trunk, start = own.trunk, main.value_start()
    head = _value_head(trunk, device, start)
    module = trunk.module
    assert isinstance(module, PreTrainedModel)
    make_trainable(module, lora_rank=rank, seed=config.seed + 1)
    keep_of_passes(module, config.activations, device)
    return Critic(head, trunk), {"model": module}


def _folder_of_main(config: PolicyLearningConfig, folders: Mapping[str, Path]) -> Path:
    if config.reward_model:
        return folders["reward_model"]
    return next(folder for role, folder in folders.items() if role.startswith("reward:"))


def _value_head(trunk: Trunk, device: torch.device, start: tuple[Tensor, float] | None = None) -> nn.Linear:
    """A float32 head for values, from zero or from a reward model's head (weight [D] and bias)."""
    size: Any = trunk.module.config
    head = nn.Linear(size.get_text_config().hidden_size, 1, device=device)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        if start is not None:
            head.weight.copy_(start[0][None])
            head.bias.fill_(start[1])
    return head


def _vocabulary(folder: Path) -> Any:
    """What decides which text a token id stands for."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return content["model"].get("vocab"), [(t["id"], t["content"]) for t in content.get("added_tokens", [])]
