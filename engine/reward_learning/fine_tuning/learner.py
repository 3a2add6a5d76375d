"""A reward model in training: trunk, heads, and one step of both."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.models.activations import keep_of_passes
from engine.models.device import resolve_device
from engine.models.four_bit import quantise
from engine.models.head import OutputHead, head_of
from engine.models.parts import output_head, place
from engine.models.policy import load_policy
from engine.models.reward_classifier import init_reward_classifier
from engine.models.sharding import is_sharded
from engine.models.trunk import Trunk, make_trainable
from engine.objectives.preference import accuracy
from engine.protocol.configs import RewardConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir
from engine.reward_learning.fine_tuning.data import Element
from engine.reward_learning.fine_tuning.objective import Objective, Terms
from engine.text import Tokeniser
from engine.training.broken import broken_step
from engine.training.checkpoint import seeded
from engine.training.guards import MicroBatchSize, retry_on_out_of_memory
from engine.training.optimiser import MasterAdam, WholeMasters, clip_together
from engine.training.policy import divide_or_place, first_place
from engine.training.ranks import current

EVALUATION_TOKENS = 4096
TIE_RATE = 0.02  # peak learning rate of the tie parameter: one number of size 1, unlike a weight


class Heads(nn.Module):
    """E linear heads over one trunk, computed in float32 whatever the trunk computes in.

    In bfloat16 near scores would be rounded to equal ones.
    """

    def __init__(self, first: nn.Linear, members: int, seed: int) -> None:
        """The first member is `first`; the others are drawn as it was, N(0, 1/√(D+1)), bias 0."""
        super().__init__()
        C, D = first.weight.shape
        drawn = [first.weight.detach().float()]
        for member in range(1, members):
            noise = torch.randn(C, D, generator=seeded("head", seed, member))
            drawn.append((noise / math.sqrt(D + 1)).to(first.weight.device))
        self.weight = nn.Parameter(torch.stack(drawn))  # [E, C, D]
        self.bias = None
        if first.bias is not None:
            self.bias = nn.Parameter(torch.zeros(members, C, device=first.weight.device))

    def forward(self, hidden_N_D: Tensor) -> Tensor:
        """Scores [E, N, C] float32."""
        scores = torch.einsum("nd,ecd->enc", hidden_N_D.float(), self.weight)
        return scores if self.bias is None else scores + self.bias[:, None]


@dataclass
class RewardLearner:
    """The model in training.  E members of the ensemble of heads, C criteria."""

    model: PreTrainedModel
    trunk: Trunk
    heads: Heads
    objective: Objective
    terms: dict[str, Terms]  # by prompt: what its judgements teach
    optimisers: dict[str, MasterAdam]
    lm_head: OutputHead | None  # for the language-model loss
    microbatch: MicroBatchSize  # tokens in one forward and backward
    bootstrap: dict[str, Tensor] = field(default_factory=dict)  # by prompt: weight for each member, [E]

    def scores(self, elements: Sequence[Element]) -> list[Tensor]:
        """Scores of all responses of each element, [E, K, C] float32, from one forward pass."""
        rows = [row for element in elements for row in element.rows]
        scores_E_N_C = self.heads(self.trunk.last(rows))
        return list(scores_E_N_C.split([len(element.lengths) for element in elements], dim=1))

    def losses(self, elements: Sequence[Element]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Sum over prompts of the loss, of the language-model loss, and the scores of each prompt.

        The ensemble's loss is the mean over its members, each with its own weights of the prompts.
        """
        rows = [row for element in elements for row in element.rows]
        batch = self.trunk.pack(rows)
        hidden_R_S_D = self.trunk.hidden(batch)
        scores_E_N_C = self.heads(hidden_R_S_D[batch.row, batch.index_last])
        scores = list(scores_E_N_C.split([len(element.lengths) for element in elements], dim=1))
        total = scores_E_N_C.new_zeros(())
        for element, scores_E_K_C in zip(elements, scores, strict=True):
            loss_E = self.objective(scores_E_K_C, self.terms[element.prompt_id])
            weight_E = self.bootstrap.get(element.prompt_id)
            total = total + (loss_E if weight_E is None else loss_E * weight_E).mean()
        lm = scores_E_N_C.new_zeros(())
        if self.lm_head is not None:
            first = 0
            for element in elements:
                best = self.terms[element.prompt_id].best
                n, first = first + best, first + len(element.lengths)
                real = batch.mask[n]
                if (
                    element.response_ids[best] in element.endless
                ):  # nobody shall learn to end where it was cut
                    real = real & (real.cumsum(dim=0) < real.sum())
                if real.any():
                    hidden_T_D = hidden_R_S_D[batch.row[n], batch.index_before[n][real]]
                    lm = lm - self.lm_head.logprobs(hidden_T_D, batch.tokens[n][real]).logprobs.mean()
        return total, lm, scores

    @torch.no_grad()
    def scored(self, elements: Sequence[Element]) -> Iterator[tuple[Element, Tensor]]:
        """Scores [E, K, C] of each element on the CPU, longest first."""
        parts = micro_batches(elements, EVALUATION_TOKENS, self.trunk)
        idle = partial(self.trunk.idle, learning=False)
        for group in current().in_step(parts, idle, self.trunk.module):
            for element, scores_E_K_C in zip(group, self.scores(group), strict=True):
                yield element, scores_E_K_C.cpu()

    def masters(self) -> Mapping[str, Tensor]:
        """The float32 weights by parameter name, the mean of the ensemble as the model's own head."""
        head = output_head(self.model)
        name = next(name for name, module in self.model.named_modules() if module is head)
        own = {f"{name}.weight": self.heads.weight.mean(dim=0)}
        if head.bias is not None and self.heads.bias is not None:
            own[f"{name}.bias"] = self.heads.bias.mean(dim=0)
        return WholeMasters(self.optimisers["model"], own)


def make_learner(
    folder: Path,
    tokeniser: Tokeniser,
    config: RewardConfig,
    *,
    criteria: Sequence[str] = ("overall",),
    terms: dict[str, Terms] | None = None,
    tie_share: float = 0.0,
) -> RewardLearner:
    """A new reward model on the weights of the policy in `folder`, ready to be trained."""
    device, terms = resolve_device(config.device), terms or {}
    begins = "cpu" if config.base == "4-bit" else str(first_place(config.sharding, device))
    model = init_reward_classifier(
        folder, dtype=config.dtype, device=begins, seed=config.seed, criteria=criteria
    )
    make_trainable(model, lora_rank=config.lora_rank if config.tuning == "lora" else None, seed=config.seed)
    if config.base == "4-bit":
        quantise(model, device)
        place(model, device)
    trunk = Trunk.of(model, tokeniser.pad_id, device)
    keep_of_passes(trunk.module, config.activations, device)
    divide_or_place(config.sharding, [model], device)
    head = output_head(model)
    heads = Heads(head, config.ensemble, config.seed)
    head.requires_grad_(False)  # the heads learn in its place
    objective = Objective(config, tie_share).to(device)
    optimisers = {"model": MasterAdam(model, eps=1e-8), "heads": MasterAdam(heads, eps=1e-8)}
    if objective.tie.requires_grad:
        optimisers["tie"] = MasterAdam(objective, eps=1e-8)
    return RewardLearner(
        model=model,
        trunk=trunk,
        heads=heads,
        objective=objective,
        terms={prompt: one.to(device) for prompt, one in terms.items()},
        optimisers=optimisers,
        lm_head=_lm_head(folder, trunk, config) if config.lm_coefficient else None,
        microbatch=MicroBatchSize(config.batch_tokens, "tokens", together=is_sharded(model)),
        bootstrap=_bootstrap(list(terms), config, device) if config.ensemble > 1 else {},
    )


def _bootstrap(prompts: list[str], config: RewardConfig, device: torch.device) -> dict[str, Tensor]:
    """Weights of a Bayesian bootstrap over prompts (Rubin 1981): Exp(1), mean 1 for each member; [E] each."""
    draws_P_E = torch.empty(len(prompts), config.ensemble)
    draws_P_E.exponential_(generator=seeded("bootstrap", config.seed))
    weights_P_E = (draws_P_E / draws_P_E.mean(dim=0)).to(device)
    return dict(zip(sorted(prompts), weights_P_E, strict=True))


def _lm_head(folder: Path, trunk: Trunk, config: RewardConfig) -> OutputHead:
    """The policy's language-model head: the trunk's embeddings where they are tied, else a frozen copy."""
    policy = load_policy(folder, config.dtype, trunk.device)
    head = head_of(policy)
    if policy.config.tie_word_embeddings:
        head.linear.weight = trunk.module.get_input_embeddings().weight  # type: ignore[operator]
    else:
        head.linear.requires_grad_(False)
    return head


def micro_batches(elements: Sequence[Element], budget: int, trunk: Trunk) -> Iterator[list[Element]]:
    """Cut elements, longest first, into groups of which a forward pass computes at most `budget` tokens.

    A group is never less than one element.
    """
    group: list[Element] = []
    for element in sorted(elements, key=lambda element: element.tokens, reverse=True):
        if group and trunk.tokens([row for other in [*group, element] for row in other.rows]) > budget:
            yield group
            group = []
        group.append(element)
    if group:
        yield group


def train_step(
    learner: RewardLearner, elements: list[Element], rate: float, config: RewardConfig, run: RunDir, step: int
) -> Generator[Event, None, dict[str, float]]:
    """One optimiser step on the mean over prompts of their loss; returns its metrics.

    Micro-batches change nothing but memory: they are halved when it runs out.
    """

    def attempt(tokens: int) -> Generator[Event, None, tuple[float, float, Tensor]]:
        yield from ()
        return _gradients(learner, elements, config.lm_coefficient, tokens)

    loss, language, margin_M = yield from retry_on_out_of_memory(learner.microbatch, attempt)
    ranks = current()
    if ranks.world > 1:
        losses = torch.tensor([loss, language], dtype=torch.float64)
        ranks.add(losses)
        ranks.add_gradients(learner.optimisers.values())
        loss, language = losses.tolist()
        margin_M = torch.tensor(
            [margin for theirs in ranks.gather(margin_M.tolist(), list[float]) for margin in theirs]
        )
    optimisers = learner.optimisers.values()
    norm = clip_together(optimisers, config.max_grad_norm) if math.isfinite(loss + language) else math.nan
    if not math.isfinite(norm):
        raise broken_step(run, step, elements, loss)
    for name, optimiser in learner.optimisers.items():
        optimiser.step(TIE_RATE * rate / config.peak_learning_rate if name == "tie" else rate)
    metrics = {
        "train/loss": loss,
        "train/accuracy": accuracy(margin_M),
        "train/learning_rate": rate,
        "train/grad_norm": norm,
    }
    if learner.lm_head is not None:
        metrics["train/lm_loss"] = language
    if learner.objective.tie.requires_grad:
        metrics["train/tie"] = learner.objective.tie_setting
    return metrics


def _gradients(
    learner: RewardLearner, elements: list[Element], lm_coefficient: float, tokens: int
) -> tuple[float, float, Tensor]:
    """Accumulate the gradients of a step: mean loss, mean language-model loss, margins of all pairs [M]."""
    for module in (learner.model, learner.heads, learner.objective):
        module.zero_grad()  # of an attempt that ran out of memory
    for optimiser in learner.optimisers.values():
        optimiser.zero_grad()
    total, language, margins = 0.0, 0.0, []
    ranks = current()
    divided = is_sharded(learner.trunk.module)

    def idle() -> None:
        learner.trunk.idle(learning=True)
        learner.optimisers["model"].accumulate()

    parts = micro_batches(ranks.share(elements), tokens, learner.trunk)
    for group in ranks.in_step(parts, idle, learner.trunk.module):
        ranking, lm, scores = learner.losses(group)
        loss = (ranking + lm_coefficient * lm) / len(elements)
        total += float(ranking.detach()) / len(elements)
        language += float(lm.detach()) / len(elements)
        if math.isfinite(total + language) or divided:  # where the other ranks wait for it
            loss.backward()
            for optimiser in learner.optimisers.values():
                optimiser.accumulate()
        for element, scores_E_K_C in zip(group, scores, strict=True):
            margins.append(margins_of(learner.terms[element.prompt_id], scores_E_K_C.detach().mean(dim=0)))
    return total, language, torch.cat(margins or [torch.zeros(0)])


def margins_of(terms: Terms, scores_K_C: Tensor) -> Tensor:
    """Score of the winner minus that of the loser for every strict pair, [M]."""
    scores = scores_K_C.flatten()
    return scores[terms.pairs.winner] - scores[terms.pairs.loser]
