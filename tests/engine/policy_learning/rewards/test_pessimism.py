"""What an ensemble is cautious about, against truths that are known."""

from __future__ import annotations

import numpy as np
import torch

from engine.frozen.fit import FitSettings, fit_head
from engine.objectives.groups import leave_one_out
from engine.policy_learning.rewards.rewards import Rewards
from engine.policy_learning.rewards.score_scale import RewardScores, ScoreScale
from engine.protocol.rewards import Component, Ensemble
from tests.engine.frozen.test_posterior import truth

PROMPTS, K = 40, 4


def judged(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Members' scores [M, N], true scores [N] and prompts of responses that no head has seen."""
    x, score, c = truth(seed, PROMPTS, K, level=3.0)
    learned = PROMPTS * K
    seen = c.chosen(c.prompt < PROMPTS)
    head = fit_head(x[:learned], seen, layers=(1,), parts=("last",), settings=FitSettings(seed=seed))
    members = head.members(x[learned:])
    assert members is not None
    new = torch.from_numpy(score[learned:]).double()
    return torch.from_numpy(members[:, :, 0]).double(), new, torch.arange(learned) // K


class Part:
    """Stands for a loaded reward model."""

    component = Component("rm")


def test_the_deviation_that_is_taken_off_covers_the_truth_and_a_score_itself_says_another_thing() -> None:
    """Of 4 truths whose prompts differ three times as much as their answers do.  One covers with a standard
    deviation of some 0.08, so their mean with 0.04: where 0.93 is true it is below 0.8 once in 2,000 times,
    and always for what is told by resampled prompts (0.5).
    """
    rewards = {kappa: Rewards([Part()], Ensemble("mean-deviation", kappa)) for kappa in (0.0, 1.96)}  # type: ignore[list-item]
    covered, wide = [], []
    for seed in range(4):
        members, score, group = judged(seed)
        scored = RewardScores({"rm": members}, {}, members.mean(dim=0))
        low, mean = (rewards[kappa].combined(scored, ScoreScale(), group) for kappa in (1.96, 0.0))
        off = leave_one_out(mean, group) - leave_one_out(score, group)
        covered.append(float((off.abs() <= mean - low).double().mean()))
        wide.append(float(members.std(dim=0, unbiased=False).mean() * 1.96 / (mean - low).mean()))
    assert 0.8 <= np.mean(covered) <= 0.995
    assert np.mean(wide) > 1.5


def test_members_of_one_model_keep_what_they_disagree_about_when_scores_are_scaled() -> None:
    members, _, group = judged(0)
    scored = RewardScores({"rm": members}, {}, members.mean(dim=0))
    scale = ScoreScale.of(scored, group)
    plain = Rewards([Part()], Ensemble("mean-deviation", 1.0))  # type: ignore[list-item]
    found, raw = plain.combined(scored, scale, group), plain.combined(scored, ScoreScale(), group)
    spread = sum(scale.stds["rm"]) / len(scale.stds["rm"])
    torch.testing.assert_close(
        leave_one_out(found, group), leave_one_out(raw, group) / spread, rtol=1e-4, atol=1e-4
    )
