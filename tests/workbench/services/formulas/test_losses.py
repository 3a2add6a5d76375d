"""The formula says the numbers that the run has, and dashes where it has none."""

from __future__ import annotations

import pytest

from engine.protocol.catalog import JOBS
from workbench.services.formulas.losses import FORMULAS, formula, number

METRICS = {
    "policy/policy_loss": [(1, 0.5), (2, -0.02)], "policy/value_loss": [(2, 0.4)],
    "policy/clip_fraction": [(2, 0.019)],
    "policy/kl": [(2, 4.5)], "policy/beta": [(2, 0.048)], "policy/score": [(2, 1.7)],
    "policy/reward": [(2, 1.4)],
    "policy/objective": [(2, 1.6)], "policy/kl_goal": [(2, 5.0)], "bon/proxy": [(2, 0.9)],
    "bon/objective": [(2, 0.8)],
    "train/loss": [(2, 0.6)],
}  # fmt: skip


def lines(kind: str, config: dict[str, object], metrics: dict[str, list[tuple[int, float]]]) -> str:
    found = formula(kind, config, metrics)
    assert found is not None
    return "\n".join(f"{t.symbols} | {t.numbers} | {t.meaning}" for t in found.terms)


def test_ppo_adds_up() -> None:
    text = lines("ppo", {"clip": 0.2, "value_coefficient": 0.1, "normalise_score": True}, METRICS)
    assert "−0.02 + 0.1 · 0.4 = 0.02" in text
    assert "1.9% of tokens clipped" in text
    assert "β 0.048, KL 4.5 nats a response, s 1.6 → reward 1.4" in text
    found = formula("ppo", {}, METRICS)
    assert found is not None
    assert found.step == 2


@pytest.mark.parametrize("kind", sorted(FORMULAS))
def test_every_formula_stands_before_the_first_number(kind: str) -> None:
    empty = formula(kind, {}, {})
    assert empty is not None
    assert empty.step is None
    assert "–" in lines(kind, {}, {})
    assert all(len(term.symbols) <= 74 for term in empty.terms)


def test_variants_write_their_own_loss() -> None:
    assert "(Δ − 1/2β)²" in lines("dpo", {"loss": "ipo", "beta": 0.1}, METRICS)
    assert "s·log σ(−βΔ)" in lines("dpo", {"loss": "sigmoid", "label_smoothing": 0.1}, METRICS)
    assert "perplexity 1.822" in lines("sft", {}, METRICS)
    assert "std s" not in lines("grpo", {"scale_advantages": False}, {})


def test_direct_methods_write_their_own_loss() -> None:
    assert "(βΔ+αδ)" in lines("dpo", {"length_penalty": 0.01}, METRICS)
    assert "/(1−2s)" in lines("dpo", {"loss": "robust", "label_smoothing": 0.1}, METRICS)
    assert "log σ(±βΔ − t)" in lines("dpo", {"ties": "rao_kupper", "tie": 1.1}, METRICS)
    assert "log π(w)/π_ref(w)/|w|" in lines("dpo", {"average": "token"}, METRICS)
    assert "λ 0.5" in lines("dpo", {"nll": 0.5}, METRICS)
    assert "β 2, γ 1" in lines("simpo", {"beta": 2.0, "gamma": 1.0}, METRICS)
    assert "λ·log π(w)/|w|" in lines("cpo", {"beta": 0.1, "nll": 1.0}, METRICS)
    assert "log odds(w)" in lines("orpo", {"beta": 0.1}, METRICS)
    assert "λ 1 and 2" in lines("kto", {"desirable_weight": 1.0, "undesirable_weight": 2.0}, METRICS)


def test_variants_of_policy_learning_write_their_own_terms() -> None:
    assert "clip(ρ, 1−ε, 1+ε⁺)" in lines("grpo", {"clip": 0.2, "clip_high": 0.28}, METRICS)
    assert "(π/π_old)^1/|y|" in lines("grpo", {"ratio": "sequence"}, METRICS)
    assert "min(ρ, 1+ε)·A·log π" in lines("ppo", {"surrogate": "cispo"}, METRICS)
    assert "Σ_s≥t" in lines("grpo", {"kl_loss": "sequence"}, METRICS)
    assert "std of the step" in lines("grpo", {"scale_of": "batch"}, METRICS)
    assert "mean of the others" in lines("grpo", {"scale_advantages": False, "baseline": "others"}, METRICS)
    assert "c 0.01, –" in lines("rloo", {"entropy_bonus": 0.01}, METRICS)
    assert "up to −1 in the last 9 tokens" in lines(
        "rloo", {"overlong_tokens": 9, "overlong_penalty": 1.0}, METRICS
    )
    long: dict[str, object] = {
        "overlong_tokens": 9,
        "clip_high": 0.3,
        "ratio": "sequence",
        "kl_loss": "sequence",
    }
    for kind in ("ppo", "grpo", "rloo"):
        for average in ("response", "budget"):
            found = formula(kind, {**long, "loss_average": average, "normalise_score": True}, METRICS)
            assert found is not None
            assert all(len(term.symbols) <= 78 for term in found.terms)


def test_components_and_a_constraint_add_their_terms() -> None:
    more = {
        **METRICS,
        "reward/helpful": [(2, 0.5)],
        "reward/short": [(2, -1.0)],
        "multiplier/harm": [(2, 0.3)],
        "multiplier/short >=": [(2, 0.2)],
        "cost/short": [(2, -1.0)],
    }
    config: dict[str, object] = {"constraint": "harm", "constraint_bound": 0.1, "ensemble": "minimum"}
    config["constraints"] = ["short >= -2"]
    text = lines("ppo", config, more)
    assert "helpful 0.5, short −1 | minimum" in text
    assert "harm: λ 0.3, – ≤ 0.1; short >=: λ 0.2, −1 ≥ −2" in text
    assert "components" not in lines("ppo", {}, METRICS)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [*((kind, "mean score 1.7, mean s 1.6") for kind in ("ppo", "grpo", "rloo")),
     ("best_of_n", "mean score 0.9, mean s 0.8")],
)  # fmt: skip
def test_what_is_maximised_is_one_formula(kind: str, numbers: str) -> None:
    text = lines(kind, {"normalise_score": True, "missing_stop_penalty": -1.0}, METRICS)
    assert f"s = (score − μ) / σ;  unfinished: mean s of the prompt's others − 1 | {numbers}" in text
    assert "s = score;" in lines(kind, {"normalise_score": False, "missing_stop_penalty": 0.5}, METRICS)


def test_a_loss_says_over_what_it_is_averaged() -> None:
    assert "L_π = −mean_t min" in lines("ppo", {}, METRICS)
    assert "L_π = −mean_i Σ_t min" in lines("rloo", {}, METRICS)
    averages = {"response": "mean_i mean_t", "token": "mean_t", "budget": "mean_i Σ_t 1/T_max"}
    for average, mean in averages.items():
        text = lines("grpo", {"loss_average": average}, METRICS)
        assert f"L_π = −{mean} min" in text
        assert f"KL = {mean} ½" in text


def test_an_adaptive_beta_has_its_rule() -> None:
    assert "KL 4.5, goal 5 of 6" in lines("rloo", {"kl": "adaptive", "kl_target": 6.0}, METRICS)
    assert "goal" not in lines("rloo", {"kl": "fixed"}, METRICS)


def test_grpo_adds_up() -> None:
    text = lines("grpo", {}, {**METRICS, "policy/kl_loss": [(2, 0.03)]})
    assert "−0.02 + 0.03 = 0.01    β 0.048" in text


def test_jobs_that_optimise_nothing_have_none() -> None:
    assert formula("export", {}, {}) is None
    learning = {kind for kind, job in JOBS.items() if job.trains}
    assert learning <= set(FORMULAS)


def test_numbers_as_a_person_writes_them() -> None:
    assert [number(v) for v in (-0.01894, 1, None, float("nan"), 123456.0)] == [
        "−0.01894",
        "1",
        "–",
        "–",
        "1.235e+05",
    ]


def test_a_reward_model_shows_the_settings_that_its_objective_has() -> None:
    settings = {"margin": 0.1, "label_smoothing": 0.2, "centring": 0.3}
    frozen = lines("reward", {"tuning": "frozen", **settings}, METRICS)
    assert "strength" in frozen
    assert not any(word in frozen for word in ("margin", "smoothing", "distance", "Adam"))
    assert "m 0.1, smoothing 0.2, c 0.3" in lines("reward", {"tuning": "full", **settings}, METRICS)
    tied = METRICS | {"train/tie": [(2, 0.75)]}
    davidson = lines("reward", {"tuning": "lora", "objective": "davidson", **settings}, tied)
    assert "ν 0.75, c 0.3" in davidson
    assert "smoothing" not in davidson
    assert "c 0.3" not in lines("reward", {"tuning": "full", "objective": "rating", **settings}, METRICS)
