"""The loss of a run as a formula, with the current number in each of its terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.services.formulas.direct import cpo, dpo, kto, online_loss, orpo, simpo
from workbench.services.formulas.parts import MINUS, Figures, Term, number, percent
from workbench.services.formulas.rewards import process_reward
from workbench.services.formulas.scores import score_terms


@dataclass(frozen=True, slots=True)
class Formula:
    """What a run minimises or does."""

    title: str
    terms: tuple[Term, ...]
    step: int | None = None
    """The step whose numbers these are; None before the first."""


def formula(kind: str, config: Figures, metrics: Mapping[str, Any]) -> Formula | None:
    """The formula of a run of `kind`; None for jobs that have none.

    `metrics` is name → [(step, value), …], steps ascending; the last value of each counts.
    """
    write = FORMULAS.get(kind)
    if write is None:
        return None
    latest = {name: points[-1][1] for name, points in metrics.items() if points}
    steps = [points[-1][0] for points in metrics.values() if points]
    title, terms = write(config, latest)
    terms += score_terms(config, latest)
    return Formula(title, tuple(terms), max(steps, default=None))


def _sum(first: Any, weight: Any, second: Any) -> str:
    """`a + w·b = c`; dashes where a term is not known."""
    known = [v for v in (first, weight, second) if isinstance(v, int | float)]
    total = first + weight * second if len(known) == 3 else None
    return f"{number(first)} + {number(weight)} · {number(second)} = {number(total)}"


def _clip_numbers(config: Figures, latest: Figures) -> str:
    high = f", ε⁺ {number(config.get('clip_high'))}" if config.get("clip_high") else ""
    return (
        f"{number(latest.get('policy/policy_loss'))}    mean ρ {number(latest.get('policy/ratio_mean'))}, "
        f"ε {number(config.get('clip'))}{high}, "
        f"{percent(latest.get('policy/clip_fraction'))} of tokens clipped"
    )


def _kl_reward(config: Figures, latest: Figures) -> Term:
    return Term(
        f"r_t = {MINUS}β·(log π {MINUS} log π_ref) + [t = T]·s",
        f"β {number(_beta(config, latest))}, KL {number(latest.get('policy/kl'))} nats a response, "
        f"s {number(latest.get('policy/objective'))} → reward {number(latest.get('policy/reward'))}",
        "what is maximised: s once, at the end; the reference policy holds it back",
    )


def _objective(config: Figures, latest: Figures, score: str, objective: str) -> Term:
    """s, the same for every job that learns from rewards."""
    symbols = f"s = (score {MINUS} μ) / σ" if config.get("normalise_score", True) else "s = score"
    penalty = config.get("missing_stop_penalty", 0.0)
    dear = config.get("overlong_tokens")
    return Term(
        f"{symbols};  unfinished: mean s of the prompt's others {MINUS if penalty < 0 else '+'} "
        f"{number(abs(penalty))}",
        f"mean score {number(latest.get(score))}, mean s {number(latest.get(objective))}"
        + (
            f"; up to {MINUS}{number(config.get('overlong_penalty'))} in the last {dear} tokens"
            if dear
            else ""
        ),
        "μ mean, σ spread within a prompt, both before learning"
        if config.get("normalise_score", True)
        else "the score as the reward gives it",
    )


def _steering(config: Figures, latest: Figures) -> list[Term]:
    """How β is steered; nothing where it is constant."""
    if config.get("kl") != "adaptive":
        return []
    return [
        Term(
            "β = b·(KL/goal)³,  b ← b·(KL/goal)^(n/h)",
            f"KL {number(latest.get('policy/kl'))}, goal {number(latest.get('policy/kl_goal'))} of "
            f"{number(config.get('kl_target'))}",
            "adaptive β; KL/goal counts no further than e^±½, n responses a step, h horizon",
        )
    ]


def _beta(config: Figures, latest: Figures) -> Any:
    return latest.get("policy/beta", config.get("beta"))


def _entropy(config: Figures, latest: Figures) -> Term:
    figures = f"{number(latest.get('policy/entropy'))} nats a token"
    if weight := config.get("entropy_bonus"):
        figures += f"    c {number(weight)}, {number(latest.get('policy/entropy_loss'))} in the loss"
        return Term(f"{MINUS}c·mean_t H(π)", figures, "bonus for entropy, added to L_π")
    return Term("H(π)", figures, "entropy: watched, not part of the loss")


MEANS = {
    "tokens": "mean_t",
    "responses": "mean_i Σ_t",
    "response": "mean_i mean_t",
    "token": "mean_t",
    "budget": "mean_i Σ_t 1/T_max",
}
"""Over what a loss is averaged: t all tokens, i responses; T_max is the response budget."""


def _surrogate(config: Figures, latest: Figures, mean: str, words: str) -> Term:
    bounds = f"1{MINUS}ε, 1+ε⁺" if config.get("clip_high") else "1 ± ε"
    ratio = "(π/π_old)^1/|y|" if config.get("ratio") == "sequence" else "π / π_old"
    symbols = f"L_π = {MINUS}{MEANS[mean]} min(ρ·A, clip(ρ, {bounds})·A),  ρ = {ratio}"
    if config.get("surrogate") == "cispo":
        high = "ε⁺" if config.get("clip_high") else "ε"
        symbols = f"L_π = {MINUS}{MEANS[mean]} min(ρ, 1+{high})·A·log π,  ρ = π / π_old, fixed"
    return Term(symbols, _clip_numbers(config, latest), words)


def _ppo(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    policy, value = latest.get("policy/policy_loss"), latest.get("policy/value_loss")
    whitened = "whitened advantages" if config.get("whiten_advantages") else "advantages"
    return "PPO", [
        Term("L = L_π + c·L_V", _sum(policy, config.get("value_coefficient"), value), "what Adam descends"),
        _surrogate(
            config,
            latest,
            "tokens",
            "policy: more of what went better than expected, no further than the clip",
        ),
        Term(
            f"L_V = ½ mean_t max((V {MINUS} R)², (clip(V, V_old ± ε_V) {MINUS} R)²)",
            f"{number(value)}    ε_V {number(config.get('clip_value'))}, "
            f"explained variance {number(latest.get('policy/explained_variance'))}",
            "critic: predict the return R = A + V_old",
        ),
        Term(
            f"A_t = Σ_k (γλ)^k·(r_t+k + γ·V_t+k+1 {MINUS} V_t+k)",
            f"γ {number(config.get('gamma'))}, λ {number(config.get('lam'))}",
            f"{whitened} (GAE)",
        ),
        _kl_reward(config, latest),
        _objective(config, latest, "policy/score", "policy/objective"),
        *_steering(config, latest),
        _entropy(config, latest),
    ]


KL_LOSSES = {
    "k2": "½ (log π − log π_ref)²",
    "k3": "ρ′ − 1 − log ρ′",
    "sequence": "log π·Σ_s≥t log(π/π_ref)_s, Σ fixed",
}
"""A token's term of the KL in the loss."""


def _grpo(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    policy, kl = latest.get("policy/policy_loss"), latest.get("policy/kl_loss")
    scaled, average = bool(config.get("scale_advantages", True)), config.get("loss_average", "response")
    of = "of the step" if config.get("scale_of") == "batch" else "s"
    others = "mean of the others" if config.get("baseline") == "others" else "mean s"
    total = policy + kl if isinstance(policy, float) and isinstance(kl, float) else None
    return "GRPO", [
        Term(
            "L = L_π + β·KL",
            f"{number(policy)} + {number(kl)} = {number(total)}    β {number(_beta(config, latest))}",
            "what Adam descends",
        ),
        _surrogate(config, latest, average, f"policy, averaged by {average}"),
        Term(
            f"A_i = (s_i {MINUS} {others}){' / std ' + of if scaled else ''}",
            f"over {number(config.get('samples'))} samples a prompt",
            "the other samples of a prompt stand in for the critic",
        ),
        Term(
            f"KL = {MEANS[average]} {KL_LOSSES[config.get('kl_loss', 'k2')]}",
            f"{number(latest.get('policy/kl'))} nats a response (log π − log π_ref, summed)",
            "holds the policy near the reference",
        ),
        _objective(config, latest, "policy/score", "policy/objective"),
        *_steering(config, latest),
        _entropy(config, latest),
    ]


def _rloo(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    return "RLOO", [
        _surrogate(config, latest, "responses", "what Adam descends: REINFORCE with the ratio clipped"),
        Term(
            f"A_i = R_i {MINUS} mean of the other R_j,  R = Σ r_t",
            f"over {number(config.get('samples'))} samples a prompt; "
            f"reward {number(latest.get('policy/reward'))}",
            "the other samples of a prompt are the baseline",
        ),
        _kl_reward(config, latest),
        _objective(config, latest, "policy/score", "policy/objective"),
        *_steering(config, latest),
        _entropy(config, latest),
    ]


def _online_dpo(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    if config.get("compare") == "preference":
        figures = f"mean {number(latest.get('policy/objective'))}; triples in a circle "
        figures += percent(latest.get("policy/intransitive"))
        source = Term("s = mean over the others of P(y ≻ y′)", figures, f"by {config.get('preference')}")
    elif config.get("compare") == "people":
        source = Term("s = (worse − better) / others", "by people", "where a sample stands in their rankings")
    else:
        source = _objective(config, latest, "policy/score", "policy/objective")
    kl = Term(
        "KL(π ‖ π_ref)",
        f"{number(latest.get('policy/kl'))} nats a response",
        "to the policy before the first step; watched, the loss holds it by β",
    )
    return "Online DPO", [*online_loss(config, latest), source, kl, _entropy(config, latest)]


def _nash_md(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    share, beta = number(config.get("mixture_share")), number(config.get("beta"))
    by = config.get("preference") if config.get("compare") == "preference" else "σ of the difference in score"
    kl = Term(
        "KL(π ‖ π_ref)",
        f"{number(latest.get('policy/kl'))} nats a response",
        "to the policy before the first step",
    )
    return "Nash-MD", [
        Term(
            f"L = {MINUS}E[(P(y ≻ y′) {MINUS} ½ {MINUS} β log π/π_ref) log π(y)]",
            f"{number(latest.get('policy/loss'))}    β {beta}",
            "be preferred to the opponents, near the reference",
        ),
        Term("y′ ~ π^(1−m) π_ref^m, token by token", f"m {share}", "opponents come from the mixture"),
        Term("P(y ≻ y′)", f"mean {number(latest.get('policy/objective'))}", f"by {by}"),
        kl,
        _entropy(config, latest),
    ]


def _sft(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    loss = latest.get("train/loss")
    perplexity = math.exp(loss) if isinstance(loss, int | float) and loss < 50 else None
    return "SFT", [
        Term(
            f"L = {MINUS}mean log π(y_t | x, y_<t)",
            f"{number(loss)} nats a token    perplexity {number(perplexity)}",
            "imitate the response, token by token",
        ),
        Term(
            "held out",
            f"{number(latest.get('heldout/loss'))} nats a token",
            "unseen prompts",
        ),
    ]


def _best_of_n(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    n = config.get("samples")
    return "Best of n", [
        Term(
            "y* = argmax s(y_i),  y_1 … y_n ~ π",
            f"n {number(n)}    proxy {number(latest.get('bon/proxy'))}, "
            f"gold {number(latest.get('bon/gold'))}",
            "no weights change: the best sample by s is kept",
        ),
        _objective(config, latest, "bon/proxy", "bon/objective"),
        Term(
            f"KL ≤ ln n {MINUS} (n {MINUS} 1)/n",
            f"{number(latest.get('bon/kl'))} nats",
            "the bound on the distance from the policy sampled from",
        ),
    ]


REWARD_LOSSES = {
    "bradley_terry": f"{MINUS}mean log σ(r_w {MINUS} r_l {MINUS} m·distance)",
    "davidson": f"{MINUS}mean log P,  P(i ≻ j) ∝ exp r_i,  P(i = j) ∝ ν·exp ½(r_i + r_j)",
    "rao_kupper": f"{MINUS}mean log P,  P(i ≻ j) = σ(r_i {MINUS} r_j {MINUS} log θ)",
    "plackett_luce": f"{MINUS}mean Σ_k (r_k {MINUS} log Σ_j≥k exp r_j)",
    "rating": f"mean (r {MINUS} rating)²",
}
"""What each objective of a reward model makes small, without what is added to it."""


def _reward(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    objective = str(config.get("objective", "bradley_terry"))
    frozen = config.get("tuning") == "frozen"
    loss = REWARD_LOSSES.get(objective, REWARD_LOSSES["bradley_terry"])
    if frozen:
        loss = loss.replace(f" {MINUS} m·distance", "").replace("mean", "Σ")
        learned = Term(
            f"L = {loss} + s·|w|²,  r = w·features",
            "s, the strength, is the one of least log-loss on prompts left out",
            "fitted at once on a frozen trunk: the preferred response scores higher",
        )
    else:
        learned = Term(_centred(f"L = {loss}", objective), _reward_numbers(config, latest, objective),
                       "what Adam descends: the preferred response scores higher")  # fmt: skip
    held = f"log-loss {number(latest.get('heldout/log_loss'))}, "
    held += f"accuracy {percent(latest.get('heldout/accuracy'))}"
    why = "prompts that it did not learn from; guessing has log-loss 0.693"
    return f"Reward model, {objective.replace('_', ' ')}", [learned, Term("held out", held, why)]


def _centred(symbols: str, objective: str) -> str:
    match objective:
        case "rating":
            return symbols
        case "plackett_luce":
            return f"{symbols} + c·(2·mean r)²"
    return f"{symbols} + c·(r_w + r_l)²"


def _reward_numbers(config: Figures, latest: Figures, objective: str) -> str:
    """The loss, and the settings that this objective has."""
    figures = [number(latest.get("train/loss"))]
    if objective == "bradley_terry":
        figures.append(f"m {number(config.get('margin'))}, smoothing {number(config.get('label_smoothing'))}")
    if objective in ("davidson", "rao_kupper"):
        name = "ν" if objective == "davidson" else "log θ"
        figures.append(f"{name} {number(latest.get('train/tie', config.get('tie') or None))}")
    if objective != "rating":
        figures.append(f"c {number(config.get('centring'))}")
    return figures[0] + ("    " + ", ".join(figures[1:]) if figures[1:] else "")


def _judge(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    fields = {"reward_model": "reward_model", "preference": "reward_model", "function": "function"}
    asked = fields.get(str(config.get("by")), "policy")
    return f"Judge, {config.get(asked) or 'a model'}", [
        Term(
            f"P(a ≻ b) = ½ (p(a | a, b) + 1 {MINUS} p(b | b, a))",
            f"its two orders disagree on {percent(latest.get('judge/orders_disagree'))}, "
            f"ties {percent(latest.get('judge/ties'))}",
            "every pair is asked in both orders; where they disagree, "
            + ("it is a tie" if config.get("disagreement", "tie") == "tie" else "the mean says"),
        ),
        Term(
            "position bias",
            f"{percent(latest.get('judge/first'))} of its preferences are for what stood first",
            "one half where the place means nothing",
        ),
        Term(
            "mass of verdicts",
            f"{percent(latest.get('judge/mass'))}    cost {number(latest.get('judge/cost'))}",
            "share of its next token that is a verdict at all; near 0 its shares mean little",
        ),
    ]


FORMULAS: Mapping[str, Callable[[Figures, Figures], tuple[str, list[Term]]]] = {
    "ppo": _ppo,
    "grpo": _grpo,
    "rloo": _rloo,
    "online_dpo": _online_dpo,
    "nash_md": _nash_md,
    "dpo": dpo,
    "simpo": simpo,
    "cpo": cpo,
    "orpo": orpo,
    "kto": kto,
    "sft": _sft,
    "best_of_n": _best_of_n,
    "reward": _reward,
    "process_reward": process_reward,
    "judge": _judge,
}
