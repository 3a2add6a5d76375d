"""Strengths of policies on truths that are known; intervals have width whatever the number of prompts."""

from __future__ import annotations

import numpy as np
import pytest

from engine.labels import leaderboard
from engine.labels.leaderboard import Games, islands, strengths


def played(
    rng: np.random.Generator, s: list[float], prompts: int, gamma: float = 0.0, lean: float = 0.0
) -> Games:
    """Every two policies on every prompt; policy 0 writes `lean` doublings more."""
    rows = []
    for prompt in range(prompts):
        length = rng.normal(size=len(s))
        length[0] += lean
        for a in range(len(s)):
            for b in range(a + 1, len(s)):
                z = length[a] - length[b]
                chance = 1 / (1 + np.exp(-(s[a] - s[b] + gamma * z)))
                rows.append((a, b, prompt, float(rng.random() < chance), 1.0, z))
    a, b, prompt, won, weight, z = (np.array(column) for column in zip(*rows, strict=True))
    return Games(a, b, prompt, won, weight, z)


def test_strengths_come_back_within_their_intervals() -> None:
    true = np.array([1.0, 0.2, -1.2])
    found = strengths(played(np.random.default_rng(0), list(true), 150), 3)
    assert list(np.argsort(-found.value)) == [0, 1, 2]
    assert ((found.low < true - true.mean()) & (true - true.mean() < found.high)).all()
    assert found.value.sum() == pytest.approx(0, abs=1e-9)


def test_length_is_told_apart_from_strength() -> None:
    games = played(np.random.default_rng(1), [0.0, 0.0, 0.0], 200, gamma=1.0, lean=2.0)
    raw, controlled = strengths(games, 3, control=False), strengths(games, 3)
    assert raw.length is None
    assert raw.low[0] > 0.5  # length alone makes the first policy the best
    assert controlled.low[0] < 0 < controlled.high[0]
    assert controlled.length is not None
    assert controlled.length[1] < 1.0 < controlled.length[2]


@pytest.mark.parametrize("prompts", [1, 3])
def test_few_prompts_have_wide_intervals(prompts: int) -> None:
    one = np.zeros(prompts)
    games = Games(one.astype(int), one.astype(int) + 1, np.arange(prompts), one + 1, one + 1, one)
    found = strengths(games, 2)
    assert (found.high - found.low > 1.0).all()
    assert found.low[0] < 0 < found.value[0]


def test_swapping_the_sides_of_a_verdict_changes_nothing() -> None:
    games = played(np.random.default_rng(2), [0.5, 0.0], 20)
    turned = Games(games.b, games.a, games.prompt, 1 - games.won, games.weight, -games.doublings)
    one, other = strengths(games, 2), strengths(turned, 2)
    np.testing.assert_allclose(one.value, other.value, atol=1e-6)
    np.testing.assert_allclose(one.low, other.low, atol=1e-6)


def test_policies_that_nothing_connects_are_told_apart() -> None:
    one = np.ones(3)
    games = Games(np.array([0, 2, 3]), np.array([1, 3, 4]), np.arange(3), one, one, one)
    assert islands(games, 5).tolist() == [0, 0, 2, 2, 2]


def test_one_step_a_resample_gives_the_intervals_of_whole_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    games = played(np.random.default_rng(3), [0.8, 0.1, -0.9], 1000, gamma=0.5)
    whole = strengths(games, 3)
    monkeypatch.setattr(leaderboard, "MANY_PROMPTS", 1000)
    one_step = strengths(games, 3)
    for end in ("low", "high"):
        np.testing.assert_allclose(getattr(one_step, end), getattr(whole, end), atol=0.008)  # of 0.2
    assert whole.length is not None
    assert one_step.length == pytest.approx(whole.length, abs=0.008)
