"""Best-of-n: sample N responses to every prompt, keep the one that the reward likes best.

No weights move, and yet the policy that answers so is a better one, at a KL to the original of at most
ln n − (n − 1)/n; it gives the curve of over-optimisation at little cost before any policy is trained.

0. the scale of scores, from the samples that policy learning takes it from (score_scale)
1. sample N responses a prompt and score them with the reward (the proxy) and the gold scorer, a few prompts
   at a time; what is done lies in files, and a resumed run goes on behind it
2. the best of each prompt becomes a response of the policy that the job registers; the best is that of the
   highest objective, which is the one of policy learning: normalised, with the penalty of a missing stop
3. for n = 1, 2, 4, … N: the mean over all subsets of n samples of the objective, the proxy's and the gold's
   score of the sample that the objective likes best (engine.objectives.best_of)

The randomness of a response comes from the seed, its prompt and its sample index alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.files import write_atomic
from engine.models.catalogue import resolving
from engine.models.device import resolve_device
from engine.models.features import FEATURE_TOKENS
from engine.models.policy import load_policy
from engine.objectives.best_of import best_of, kl_bound, subset_sizes
from engine.policy_learning.prompts import REFERENCE_KEY, Prompt, Prompts, read_prompts
from engine.policy_learning.record import sample_row
from engine.policy_learning.rewards.parts import Conversation, RewardModels
from engine.policy_learning.rewards.rewards import Rewards, load_rewards
from engine.policy_learning.rewards.score_scale import RewardScores, ScoreScale
from engine.policy_learning.rollout import draw, prompt_seeds
from engine.protocol.configs import BestOfNConfig
from engine.protocol.events import Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.rollout import Sampled, response_text
from engine.tables import RESPONSES, existing_outputs, write_output
from engine.text import Tokeniser
from engine.training.checkpoint import stable_hash
from engine.training.guards import MicroBatchSize, retry_on_out_of_memory
from engine.wording import counted

SAMPLED = pa.schema(
    [
        ("step", pa.int64()),
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("text", pa.string()),
        ("score", pa.float64()),  # of the proxy, as its models give it
        ("reward", pa.float64()),  # the objective: what is maximised
        ("kl", pa.float64()),
        ("tokens", pa.int32()),
        ("stopped", pa.bool_()),
        ("components", pa.string()),
        ("cut", pa.bool_()),  # longer, with its prompt, than a reward model reads
    ]
)
STEP = 1  # all samples of the job are those of one step


@dataclass(frozen=True)
class Sampler:
    """The policy and the rewards, and how much goes through them at once."""

    model: PreTrainedModel
    tokeniser: Tokeniser
    rewards: Rewards
    sampling: MicroBatchSize
    scoring: MicroBatchSize

    def scores(
        self, prompts: list[Prompt], sampled: list[Sampled], *, with_gold: bool
    ) -> Generator[Event, None, tuple[RewardScores, Tensor | None]]:
        """What all rewards say of the responses, and the gold scorer if asked."""
        conversations = self.conversations(prompts, sampled)

        def attempt(tokens: int) -> Generator[Event, None, tuple[RewardScores, Tensor | None]]:
            yield Progress(stage="scoring", done=0, total=len(conversations), unit="responses")
            gold = self.rewards.gold_scores(conversations, tokens) if with_gold else None
            scored = self.rewards.score(conversations, tokens)
            return self.rewards.with_judged(scored, judged), gold

        judged = yield from self.rewards.judged(conversations)
        return (yield from retry_on_out_of_memory(self.scoring, attempt))

    def conversations(self, prompts: list[Prompt], sampled: list[Sampled]) -> list[Conversation]:
        """Each response with its prompt, as rewards read them."""
        return [
            prompts[response.prompt_index].conversation(
                response_text(self.tokeniser, response), response.token_ids
            )
            for response in sampled
        ]


def run(config: BestOfNConfig, directory: RunDir) -> Iterator[Event]:
    """The job.  Raises UsageError without usable prompts or with a reward that cannot be used."""
    folders: dict[str, Path] = {}
    for role, model in directory.inputs.models.items():
        folders[role] = yield from resolving(model.folder)
    tokeniser = Tokeniser.from_folder(folders["policy"])
    prompts = read_prompts(directory.table("prompts"), tokeniser, config, tokeniser.max_positions)
    yield from prompts.left_out.messages()
    # A response file is written after the file of its samples: what it names is complete.
    announced, done, number = existing_outputs(directory, "responses", "prompt_id")
    yield from announced
    waiting = [prompt for prompt in prompts.train if prompt.prompt_id not in done]
    if waiting:
        yield Progress(stage="loading models", done=0, total=1)
        sampler = load_sampler(config, folders, tokeniser, directory)
        yield Progress(stage="loading models", done=1, total=1)
        with closing(sampler.rewards):
            scale = yield from known_scale(sampler, prompts, config, directory)
            few = max(1, config.batch_sequences // config.samples)
            for start in range(0, len(waiting), few):
                chosen = waiting[start : start + few]
                yield from some_prompts(sampler, scale, chosen, config, directory, number)
                number += 1
                ready = len(done) + start + len(chosen)
                yield Progress(stage="sampling", done=ready, total=len(prompts.train), unit="prompts")
    yield from report(directory, config)


def load_sampler(
    config: BestOfNConfig, folders: dict[str, Path], tokeniser: Tokeniser, run: RunDir
) -> Sampler:
    """Policy and rewards on their device, frozen.  Raises UsageError where one of them is unusable."""
    device = resolve_device(config.device)
    return Sampler(
        model=load_policy(folders["policy"], config.dtype, device).requires_grad_(False),
        tokeniser=tokeniser,
        rewards=load_rewards(config, folders, tokeniser, RewardModels(config.dtype, device), run),
        sampling=MicroBatchSize(config.batch_sequences, "sequences"),
        scoring=MicroBatchSize(FEATURE_TOKENS, "tokens"),
    )


def known_scale(
    sampler: Sampler, prompts: Prompts, config: BestOfNConfig, run: RunDir
) -> Generator[Event, None, ScoreScale]:
    """The scale of scores that policy learning with this seed would take; kept for a resumed run."""
    path = run.path / "scale.json"
    if path.is_file():
        return ScoreScale.from_json(json.loads(path.read_text()))
    scale = ScoreScale()
    if config.normalise_score:
        chosen, samples = prompts.of_reference(config.seed)
        sampled = yield from draw(
            sampler.model, sampler.tokeniser, chosen, config, sampler.sampling,
            stage="sampling the reference policy", samples=samples,
            seeds=prompt_seeds(len(chosen), REFERENCE_KEY, config.seed),
        )  # fmt: skip
        scored, _ = yield from sampler.scores(chosen, sampled, with_gold=False)
        scale = ScoreScale.of(scored, groups_of(sampled))
        yield from scale.messages()
    write_atomic(path, json.dumps(asdict(scale)).encode())
    return scale


def groups_of(sampled: list[Sampled]) -> Tensor:
    """[N] int64: which prompt each response answers."""
    return torch.tensor([response.prompt_index for response in sampled])


def some_prompts(
    sampler: Sampler,
    scale: ScoreScale,
    prompts: list[Prompt],
    config: BestOfNConfig,
    run: RunDir,
    number: int,
) -> Iterator[Event]:
    """1 and 2 for a few prompts; one file of samples and one of the best."""
    sampled = yield from draw(
        sampler.model, sampler.tokeniser, prompts, config, sampler.sampling,
        stage="sampling responses", samples=config.samples,
        seeds=[stable_hash("best of n", config.seed, prompt.prompt_id) >> 2 for prompt in prompts],
    )  # fmt: skip
    scored, gold = yield from sampler.scores(prompts, sampled, with_gold=True)
    stopped = torch.tensor([response.stopped for response in sampled])
    reward_N = sampler.rewards.objective(
        scored, scale, stopped_N=stopped, group_N=groups_of(sampled), penalty=config.missing_stop_penalty
    )
    components = scored.components | scored.aside | ({} if gold is None else {"gold": gold})
    cut_N = sampler.rewards.cut(sampler.conversations(prompts, sampled))
    rows = [
        sample_row(
            STEP,
            prompts[response.prompt_index].prompt_id,
            response,
            response_text(sampler.tokeniser, response),
            score=float(scored.scores[n]),
            reward=float(reward_N[n]),
            kl=None,  # the samples are the policy's own
            components={name: float(score_N[n]) for name, score_N in components.items()},
        )
        | {"cut": bool(cut_N[n])}
        for n, response in enumerate(sampled)
    ]
    yield write_output(run, run.output_path("rollouts", number), "rollouts", SAMPLED, rows)
    best = [best_row(rows, sampled, prompt.prompt_id) for prompt in prompts]
    yield write_output(run, run.output_path("responses", number), "responses", RESPONSES, best)


def best_row(rows: list[dict[str, Any]], sampled: list[Sampled], prompt_id: str) -> dict[str, Any]:
    """The sample of a prompt whose reward is highest, the first of equals, as a response."""
    own = [n for n, row in enumerate(rows) if row["prompt_id"] == prompt_id]
    best = max(own, key=lambda n: (rows[n]["reward"], -n))
    return {
        "prompt_id": prompt_id,
        "sample_index": 0,
        "text": rows[best]["text"],
        "token_ids": sampled[best].token_ids,
        "token_logprobs": sampled[best].logprobs,
        "finish_reason": "stop" if sampled[best].stopped else "length",
    }


def report(run: RunDir, config: BestOfNConfig) -> Iterator[Event]:
    """3. The curve over n, from all samples of the job, in one mean over prompts."""
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    cut = 0
    for path in sorted(run.output_path("rollouts", 0).parent.glob("rollouts-*.parquet")):
        columns = ["prompt_id", "score", "reward", "components", "cut"]
        for row in pq.read_table(path, columns=columns).to_pylist():
            own = figures[row["prompt_id"]]
            cut += row["cut"]
            own["objective"].append(row["reward"])
            own["proxy"].append(row["score"])
            if config.gold:
                own["gold"].append(json.loads(row["components"])["gold"])
    summary: dict[str, float | int | str | None] = {
        "prompts": len(figures), "samples": config.samples, "cut": cut
    }  # fmt: skip
    if cut:
        yield Message(
            level="warning",
            text="Longer, with their prompt, than a reward model reads, and scored by a part: "
            f"{counted(cut, 'response')}; lower max_new_tokens.",
        )
    for n in subset_sizes(config.samples):
        values = {"bon/kl": kl_bound(n)}
        for name in ("objective", "proxy", "gold")[: 3 if config.gold else 2]:
            means = [
                best_of(torch.tensor(own["objective"]), torch.tensor(own[name]), n)
                for _, own in sorted(figures.items())
            ]
            values[f"bon/{name}"] = sum(means) / len(means)
        yield Metrics(step=n, values=values)
        if n in (1, config.samples):
            summary |= {f"{name.removeprefix('bon/')}_of_{n}": value for name, value in values.items()}
    yield Finished(summary=summary)
