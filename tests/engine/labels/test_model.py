"""The model of annotators and responses against integration on a grid, and on truths that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.labels.davidson import log_chance
from engine.labels.model import BETA, FIRST, LENGTH, TIE, fit
from engine.labels.quality import PromptGroups, believed
from engine.labels.reading import abilities, accuracy, probability, worth
from engine.labels.verdicts import PairVerdicts, Said
from tests.engine.labels.made import drawn


def test_with_two_responses_nothing_is_approximated() -> None:
    values = np.array([[2.0, 0.3, 0.2, -1.0], [-0.5, -0.3, 0.0, -0.5], [1.0, 0.0, -0.2, 0.5]])
    verdicts, _ = drawn(np.random.default_rng(0), values[:, BETA], prompts=12)
    everybody = np.ones(len(verdicts), bool)
    found = believed(verdicts, PromptGroups.of(verdicts), values, everybody, 0.1 * verdicts.length)
    grid = np.linspace(-9, 9, 4001)
    ((x, y, mean, deviation),) = found.pairs()
    for pair in range(len(x)):
        mine = np.flatnonzero(verdicts.x == x[pair])
        centre = 0.1 * (verdicts.length[x[pair]] - verdicts.length[y[pair]])
        log = -((grid - centre) ** 2) / 4
        for v in mine:
            beta, c, lean, t = values[verdicts.annotator[v]]
            eta = beta * grid + c * verdicts.first[v] + lean * verdicts.doublings[v]
            log = log + log_chance(eta, np.full_like(grid, t), np.full_like(grid, verdicts.verdict[v]))
        share = np.exp(log - log.max())
        share /= share.sum()
        assert mean[pair] == pytest.approx(share @ grid, abs=5e-3)
        assert deviation[pair] == pytest.approx(np.sqrt(share @ grid**2 - (share @ grid) ** 2), abs=5e-3)


def test_with_three_responses_it_is_close_to_sampling() -> None:
    values = np.tile([2.0, 0.0, 0.0, -1.0], (2, 1))
    verdicts, _ = drawn(np.random.default_rng(3), values[:, BETA], prompts=1, responses=3)
    found = believed(verdicts, PromptGroups.of(verdicts), values, np.ones(len(verdicts), bool), np.zeros(3))
    theta = np.random.default_rng(0).normal(size=(200_000, 3))
    gap = theta[:, verdicts.x] - theta[:, verdicts.y]
    log = log_chance(2.0 * gap, np.full(gap.shape, -1.0), verdicts.verdict).sum(axis=1)
    share = np.exp(log - log.max())
    share /= share.sum()
    np.testing.assert_allclose(found.mean, share @ theta, atol=0.03)
    np.testing.assert_allclose(found.deviation, np.sqrt(share @ theta**2 - (share @ theta) ** 2), atol=0.03)


def test_abilities_come_back_in_their_order_and_one_who_reads_the_question_wrongly_shows() -> None:
    slopes = [3.0, 3.0, 1.0, 0.0, -2.0]
    verdicts, quality = drawn(np.random.default_rng(1), slopes, prompts=60, responses=3)
    model = fit(verdicts)
    assert model.converged
    people = abilities(model)
    found = [person.slope for person in people]
    assert min(found[:2]) > found[2] > found[3] > found[4]
    assert people[4].accuracy.high < 0.5 < people[0].accuracy.low
    assert people[3].accuracy.low < 0.5 < people[3].accuracy.high
    true = np.array([quality[name] for name in verdicts.responses])
    gap = true[verdicts.x] - true[verdicts.y]
    found_gap = model.beliefs.mean[verdicts.x] - model.beliefs.mean[verdicts.y]
    assert np.corrcoef(found_gap, gap)[0, 1] > 0.8


def test_biases_of_position_and_length_come_back() -> None:
    first, longer = [1.0, 0.0, 0.0], [0.5, -0.25, -0.25]
    verdicts, _ = drawn(np.random.default_rng(2), [2.0] * 3, prompts=150, first=first, longer=longer)
    model = fit(verdicts)
    values = model.annotators.values
    error = np.sqrt(np.diagonal(model.annotators.covariance, axis1=1, axis2=2))
    assert (np.abs(values[:, FIRST] - first) < 3 * error[:, FIRST]).all()
    assert (np.abs(values[:, LENGTH] - longer) < 3 * error[:, LENGTH]).all()
    people = abilities(model)
    assert people[0].first.low > 0.5
    assert people[0].longer.low > 0.5
    assert people[0].first.low < people[0].first.value < people[0].first.high


def test_who_does_not_drive_is_measured_and_changes_nothing() -> None:
    verdicts, _ = drawn(np.random.default_rng(5), [3.0, 3.0, -3.0, -3.0, -3.0], prompts=40)
    drives = np.array([True, True, False, False, False])
    model = fit(verdicts, drives)
    assert (model.annotators.values[:2, BETA] > 1).all()
    assert (model.annotators.values[2:, BETA] < -1).all()
    kept = np.flatnonzero(drives[verdicts.annotator])
    names = verdicts.responses
    alone = PairVerdicts.of(
        Said(
            verdicts.prompts[verdicts.prompt[v]],
            names[verdicts.x[v]],
            names[verdicts.y[v]],
            verdicts.annotators[verdicts.annotator[v]],
            int(verdicts.verdict[v]),
            int(verdicts.first[v]),
        )
        for v in kept
    )
    # `alone` knows no lengths.
    blind = fit(replace(verdicts, length=np.zeros(len(names))), drives)
    np.testing.assert_allclose(blind.beliefs.mean, fit(alone).beliefs.mean, atol=0.02)


def test_without_ties_none_are_expected() -> None:
    rows = [Said(f"p{n}", f"a{n}", f"b{n}", who, 1) for n in range(8) for who in ("ana", "ben")]
    model = fit(PairVerdicts.of(rows))
    assert not np.isfinite(model.annotators.values[:, TIE]).any()
    assert np.isfinite(model.annotators.covariance).all()
    assert all(person.ties == 0 for person in abilities(model))


def test_one_verdict_is_enough_and_leaves_everything_open() -> None:
    model = fit(PairVerdicts.of([Said("p", "a", "b", "ana", 1)]))
    (person,) = abilities(model)
    assert person.accuracy.high - person.accuracy.low > 0.3
    ((_, _, mean, deviation),) = model.beliefs.pairs()
    assert 0.5 < probability(mean, deviation)[0] < 0.95


def test_nothing_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="no verdict"):
        fit(PairVerdicts.of([]))


def test_accuracy_turns_with_the_slope() -> None:
    assert accuracy(0.0) == pytest.approx(0.5)
    assert accuracy(-2.0) == pytest.approx(1 - accuracy(2.0))
    assert accuracy(1000.0) > 0.97
    # E σ(|d|), d ~ N(0, 2), by another rule
    d = np.linspace(-12, 12, 20001)
    normal = np.exp(-d * d / 4) / np.sqrt(4 * np.pi)
    assert accuracy(1.0) == pytest.approx(np.trapezoid(normal / (1 + np.exp(-np.abs(d))), d), abs=2e-3)


def test_a_settled_pair_is_worth_less_than_an_open_one() -> None:
    model = fit(PairVerdicts.of([Said("p", "a", "b", who, 1) for who in ("ana", "ben")]))
    open_pair, settled, equal = worth(model, np.array([0.0, 4.0, 0.0]), np.array([1.4, 0.5, 0.05]))
    assert open_pair > settled
    assert open_pair > equal >= 0
