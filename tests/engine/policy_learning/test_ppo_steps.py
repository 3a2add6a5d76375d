"""The phases of a PPO step one by one."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.errors import WorkbenchError
from engine.models.reward_classifier import load_reward_classifier, token_scores
from engine.objectives.value import calibration
from engine.policy_learning.loop import objective
from engine.policy_learning.models import Models, load_models
from engine.policy_learning.ppo import PPO
from engine.policy_learning.prompts import read_prompts
from engine.policy_learning.rewards.score_scale import RewardScores, ScoreScale
from engine.policy_learning.rollout import Measured, Rollout, Targets, check_sampler, collect, measure
from engine.policy_learning.update import Sums, Update, UpdateStats, minibatches
from engine.protocol.configs import PPOConfig
from tests.engine.training.fixtures import STOPS
from tests.engine.training.runs import finished, make_run, prompts

CONFIG = PPOConfig(
    name="x", reward_model="r", device="cpu", dtype="float32", prompts_per_step=3, samples=4,
    max_new_tokens=9, temperature=0.7, epochs=1, steps=2,
)  # fmt: skip


class Step:
    """One step up to its targets."""

    def __init__(self, tmp_path: Path, folders: dict[str, Path], **changes: Any) -> None:
        self.config = msgspec.structs.replace(CONFIG, **changes)
        directory = make_run(tmp_path / "run", self.config, folders, {"prompts": prompts(5)})
        self.models: Models = load_models(self.config, folders, directory, critic=self.config.critic)
        table = read_prompts(directory.table("prompts"), self.models.policy.tokeniser, self.config, 512)
        chosen = table.of_step(0, self.config.prompts_per_step, 0)
        self.rollout: Rollout = finished(collect(self.models, chosen, self.config, 0, stage="sampling"))
        self.measured: Measured = finished(measure(self.models, self.rollout))
        self.targets: Targets = self.aimed(ScoreScale(), 0.1)

    def aimed(self, scale: ScoreScale, beta: float) -> Targets:
        final = objective(self.models, self.rollout, self.measured, scale, {}, self.config)
        return PPO(self.config).advantages(self.rollout, self.measured, final, beta)

    def update(self, config: PPOConfig) -> Update:
        parts = (self.models, self.rollout, self.measured, self.targets)
        return Update(PPO(config), *parts, 0.1, config, 0)


@pytest.fixture
def step(tmp_path: Path, ppo_models: dict[str, Path]) -> Step:
    return Step(tmp_path, ppo_models)


def test_log_probabilities_are_those_of_the_plain_forward(step: Step, ppo_models: dict[str, Path]) -> None:
    model = AutoModelForCausalLM.from_pretrained(ppo_models["policy"]).eval()
    for n, response in enumerate(step.rollout.sampled):
        prompt, length = step.rollout.prompt_of(n).tokens, len(response.token_ids)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *response.token_ids]])).logits[0]
        logp = (logits[len(prompt) - 1 : -1] / 0.7).log_softmax(-1)
        expected = logp.gather(1, torch.tensor(response.token_ids)[:, None])[:, 0]
        for found in (step.measured.logprobs, step.measured.ref_logprobs, step.rollout.sampled_logprobs):
            torch.testing.assert_close(found[n, :length], expected, atol=1e-4, rtol=0)


def test_the_score_is_that_of_the_cut_text_at_its_end(step: Step, ppo_models: dict[str, Path]) -> None:
    model, reward_model = (
        load_reward_classifier(ppo_models["reward_model"], "float32"),
        step.models.rewards.main,
    )
    assert reward_model is not None
    for n, text in enumerate(step.rollout.texts):
        messages = step.rollout.prompt_of(n).messages
        tokens = reward_model.tokeniser.encode_for_score(messages, text)
        assert tokens.response[-1] == reward_model.tokeniser.eos_id
        with torch.no_grad():
            every = token_scores(model, torch.tensor([tokens.ids]))
        torch.testing.assert_close(step.measured.scores[n], every[0, -1], atol=1e-4, rtol=0)


def test_stop_tokens_that_are_not_eos_end_a_response(step: Step) -> None:
    ended = [response for response in step.rollout.sampled if response.stopped]
    assert any(response.token_ids[-1] != step.models.policy.tokeniser.eos_id for response in ended)
    for n, response in enumerate(step.rollout.sampled):
        assert response.stopped == (response.token_ids[-1] in STOPS)
        assert not set(response.token_ids[:-1]) & set(STOPS)
        kept = response.token_ids[:-1] if response.stopped else response.token_ids
        assert step.rollout.texts[n] == step.models.policy.tokeniser.decode(kept)


def test_the_score_is_added_once_at_the_last_token(step: Step) -> None:
    targets = step.aimed(ScoreScale({"r": [0.5]}, {"r": [2.0]}), 0.0)
    lengths = step.rollout.mask.sum(dim=1)
    normalised = [(float(score) - 0.5) / 2.0 for score in step.measured.scores]
    assert len({response.stopped for response in step.rollout.sampled}) == 2
    for n, response in enumerate(step.rollout.sampled):
        group = [m for m, r in enumerate(step.rollout.sampled) if r.prompt_index == response.prompt_index]
        ended = [m for m in group if step.rollout.sampled[m].stopped] or group
        level = sum(normalised[m] for m in ended) / len(ended)
        expected = normalised[n] if response.stopped else level + step.config.missing_stop_penalty
        assert float(targets.rewards[n, lengths[n] - 1]) == pytest.approx(expected)
        assert int((targets.rewards[n] != 0).sum()) == 1


def test_nothing_is_counted_beyond_the_end(step: Step) -> None:
    beyond = ~step.rollout.mask
    assert bool(beyond.any())
    for tensor in (
        step.measured.logprobs, step.measured.values, step.measured.entropy, step.targets.kl,
        step.targets.rewards, step.targets.advantages, step.targets.returns,
    ):  # fmt: skip
        assert tensor is not None
        assert bool((tensor[beyond] == 0).all())
    assert float(step.targets.advantages[step.rollout.mask].mean()) == pytest.approx(0, abs=1e-6)


def test_the_ratio_of_the_first_minibatch_is_one(step: Step) -> None:
    stats = finished(step.update(step.config).run())
    assert stats.minibatches[0].deviation < 1e-5
    assert stats.mean("ratio") == pytest.approx(1, abs=1e-5)
    assert stats.mean("clipped") == 0
    assert stats.mean("kl") == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_gradients_do_not_depend_on_micro_batches(
    tmp_path: Path, ppo_models: dict[str, Path], tuning: Any
) -> None:
    step = Step(tmp_path, ppo_models, tuning=tuning)
    found = []
    for size in (1, 3, 5, 12):
        config = msgspec.structs.replace(step.config, microbatch=size)
        step.models.microbatches["training"].size = size
        stats = UpdateStats(torch.ones(step.rollout.mask.shape))
        sums: Sums = finished(step.update(config)._minibatch(list(range(12)), stats, 0, 12))
        assert (sums.tokens, sums.responses) == (int(step.rollout.mask.sum()), 12)
        gradients = []
        for optimiser in step.models.optimisers.values():
            gradients += [m.grad.clone() for m in optimiser.masters.values() if m.grad is not None]
            optimiser.zero_grad()
        found.append(gradients)
    assert len(found[0]) > 10
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, another, atol=1e-5, rtol=1e-3)


def test_minibatches_cover_everything_in_a_fresh_order(step: Step) -> None:
    config = msgspec.structs.replace(step.config, minibatches=4)
    epochs = [minibatches(step.rollout, config, 0, epoch) for epoch in (0, 1)]
    for batches in epochs:
        assert sorted(n for batch in batches for n in batch) == list(range(12))
        assert [len(batch) for batch in batches] == [3, 3, 3, 3]
    assert epochs[0] != epochs[1]
    assert minibatches(step.rollout, config, 0, 1) == epochs[1]


def test_the_reference_and_the_reward_model_do_not_learn(step: Step) -> None:
    config = msgspec.structs.replace(step.config, learning_rate=0.05, critic_learning_rate=0.05, epochs=2)
    finished(step.update(config).run())
    again = finished(measure(step.models, step.rollout))
    assert torch.equal(again.ref_logprobs, step.measured.ref_logprobs)
    assert torch.equal(again.scores, step.measured.scores)
    assert not torch.equal(again.logprobs, step.measured.logprobs)
    assert again.values is not None
    assert step.measured.values is not None
    assert not torch.equal(again.values, step.measured.values)
    check_sampler(step.models, step.rollout, step.measured)
    with pytest.raises(WorkbenchError, match="Sampling and training disagree"):
        check_sampler(step.models, step.rollout, again)  # another policy than the one that sampled


def test_an_update_ends_early_beyond_its_kl(step: Step) -> None:
    config = msgspec.structs.replace(step.config, learning_rate=1.0, epochs=6, target_kl_update=1e-4)
    stats = finished(step.update(config).run())
    assert stats.stopped_early
    assert len(stats.grad_norms["policy"]) == len(stats.minibatches) - 1 < 6


def test_calibration_is_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    final = torch.randn(6, generator=generator)
    mask = torch.arange(4)[None, :] < torch.tensor([4, 2, 3, 1, 4, 2])[:, None]
    values = (final[:, None] * 3 + 5 + 0.1 * torch.randn(6, 4, generator=generator)) * mask
    scale, shift = calibration(values, final, mask)
    fitted = torch.linalg.lstsq(
        torch.stack([values[mask], torch.ones(int(mask.sum()))], dim=1),
        final[:, None].expand(6, 4)[mask][:, None],
    ).solution
    assert scale == pytest.approx(float(fitted[0]), abs=1e-4)
    assert shift == pytest.approx(float(fitted[1]), abs=1e-4)
    assert calibration(-values, final, mask)[0] == 0
    assert calibration(torch.zeros(6, 4), final, mask)[0] == 0


def test_scores_are_normalised_by_their_spread_within_prompts() -> None:
    """Prompts of far apart levels do not make the spread of their answers look small."""
    scores, group = torch.tensor([1.0, 3.0, 101.0, 103.0, 201.0, 203.0]), torch.tensor([0, 0, 1, 1, 2, 2])
    scored = RewardScores({"r": scores[None]}, {"r": scores}, scores, {"r": scores})
    scale = ScoreScale.of(scored, group)
    assert scale.stds == {"r": [pytest.approx(2**0.5)]}
    assert scale.cost_stds == {"r": pytest.approx(2**0.5)}
    assert float(scale.normalised("r", scores[None]).mean()) == pytest.approx(0, abs=1e-6)
    (message,) = scale.messages()
    assert (message.level, message.text) == (
        "info",
        "Scores of r are divided by their spread within a prompt, 1.41 ± 0 (6 samples of 3 prompts).",
    )
    constant = RewardScores({"r": torch.ones(1, 4)}, {"r": torch.ones(4)}, torch.ones(4))
    assert ScoreScale.of(constant, torch.tensor([0, 0, 1, 1])).stds == {"r": [1.0]}


def test_an_uncertain_scale_is_a_warning() -> None:
    scores, group = torch.tensor([0.0, 0.0, 0.0, 9.0]), torch.tensor([0, 0, 1, 1])
    scale = ScoreScale.of(RewardScores({"r": scores[None]}, {"r": scores}, scores), group)
    (message,) = scale.messages()
    assert message.level == "warning"
    assert message.text.endswith("few prompts vary, so the scale is uncertain.")
