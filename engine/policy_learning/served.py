"""A policy in training whose responses come from a server: which adapters it has, and whether it is they.

Before each sampling after a step the adapters are written to `RUN/adapters/v000012` in peft's layout, loaded
by the server under a name that was never used before (it may keep what it has computed for a name), and asked
for by that name.  A canary compares the server's log-probabilities of two responses with the trainer's.  Only
then the version before is forgotten.  What the server samples is of exactly the policy that is trained, up
to its rounding, which truncated importance sampling corrects (Ionides 2008; Yao et al. 2025, “Your efficient
RL framework secretly brings you off-policy RL training”).  With `staleness` it may be of the policy of a few
steps before (`ahead`): versions stay loaded as long as something is sampled from them.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import EndpointError
from engine.models.adapter_files import save_adapters
from engine.models.packing import Row, embedding_dtype
from engine.policy_learning.ahead import Ahead
from engine.protocol.rundir import RunDir
from engine.rollout import Server
from engine.training.guards import ROUNDING
from engine.training.optimiser import MasterAdam, WholeMasters
from engine.training.policy import Policy
from engine.training.ranks import current

CANARIES = 2  # responses whose log-probabilities are compared
KEPT = 2  # versions whose files stay


@dataclass
class Canary:
    """A response, and what the policy that sampled it thinks of its tokens, at temperature 1."""

    row: Row
    logprobs: Tensor  # [T]


@dataclass
class ServedPolicy:
    """The server, and the version of the policy that it has."""

    base: Server
    policy: Policy
    optimiser: MasterAdam
    run: RunDir
    label: str = field(default_factory=lambda: uuid.uuid4().hex[:8])  # of this process
    version: int = -1  # optimiser steps
    name: str = ""
    canaries: list[Canary] = field(default_factory=list)
    ahead: Ahead = field(default_factory=lambda: Ahead(0))  # what is sampled of steps to come
    loaded: list[str] = field(default_factory=list)  # names that the server has of this process

    def source(self) -> Server:
        """The server under the name of the policy as it is now.  Raises EndpointError."""
        if self.optimiser.steps != self.version:
            now = [
                self._logprobs(canary.row) for canary in self.canaries
            ]  # where weights are divided, of all
            folder = self.run.path / "adapters" / f"v{self.optimiser.steps:06d}"
            masters = {name: whole for name, whole in WholeMasters(self.optimiser).items() if "lora_" in name}
            name = self._load(folder, masters, now) if current().main else ""
            self.name = current().gather(name, str)[0]
            self.version = self.optimiser.steps
        return replace(self.base, model=self.name)

    def remember(self, rows: Sequence[Row]) -> None:
        """Take responses that were just sampled, each in a row of its own, as the next canaries."""
        self.canaries = [Canary(row, self._logprobs(row)) for row in rows[:CANARIES]]

    def _load(self, folder: Path, masters: dict[str, Tensor], now: list[Tensor]) -> str:
        save_adapters(self.policy.model, folder, self.base.model, masters)
        name = f"{self.run.path.name}-{self.label}-v{self.optimiser.steps:06d}"
        self.base.load_adapter(name, folder)
        try:
            self._check(replace(self.base, model=name), now)
        except Exception:
            with suppress(EndpointError):
                self.base.unload_adapter(name)
            raise
        self._unload(all_but=self.ahead.names())
        self.loaded.append(name)
        for old in sorted(folder.parent.glob("v*"))[: -KEPT - self.ahead.bound]:
            shutil.rmtree(old, ignore_errors=True)
        return name

    def _unload(self, all_but: Collection[str] = ()) -> None:
        """Have the server forget versions that nothing is sampled from any more."""
        for name in [name for name in self.loaded if name not in all_but]:
            self.loaded.remove(name)
            with suppress(EndpointError):  # a server that was started anew has forgotten it already
                self.base.unload_adapter(name)

    def _check(self, server: Server, logprobs: list[Tensor]) -> None:
        """That the server has these adapters and no older ones; what the policy now thinks of the canaries.

        Raises EndpointError.
        """
        for one in server.each():
            self._check_one(one, logprobs)

    def _check_one(self, server: Server, logprobs: list[Tensor]) -> None:
        bound = ROUNDING.get(embedding_dtype(self.policy.trunk.module), ROUNDING[torch.float32])
        for canary, now in zip(self.canaries, logprobs, strict=True):
            (response,) = canary.row.responses
            served = server.logprobs([*canary.row.prompt, *response])[-len(response) :]
            theirs = torch.tensor(served)
            apart = float((theirs - now).abs().mean())
            if apart > bound.mean:
                raise EndpointError(
                    f"{server.endpoint} has other weights than were given to it: log-probabilities of a "
                    f"response differ by {apart:.2g} nats on average. Start it with the policy of this run."
                )
            moved = float((now - canary.logprobs).abs().mean())
            stale = float((theirs - canary.logprobs).abs().mean())
            if stale < apart and moved > 2 * apart:
                raise EndpointError(
                    f"{server.endpoint} answers with the adapters of an earlier step; start it anew and "
                    "resume the run."
                )

    @torch.no_grad()
    def _logprobs(self, row: Row) -> Tensor:
        """log π of a response at temperature 1, as a server gives it for what is in a prompt."""
        return replace(self.policy, temperature=1.0).forward([row]).logprobs[0].cpu()

    def forget(self) -> None:
        """Give up what is sampled ahead, and have the server forget all versions."""
        self.ahead.give_up()
        if current().main:
            self._unload()
