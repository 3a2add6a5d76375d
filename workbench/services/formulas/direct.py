"""The losses of direct preference learning as formulas: w the winner of a pair, l its loser."""

from __future__ import annotations

from workbench.services.formulas.parts import MINUS, Figures, Term, number, percent

DESCENDED = "what Adam descends"
IMITATED = f"{MINUS} λ·log π(w)/|w|"


def dpo(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    """DPO's loss by its kind (Rafailov et al. 2023 and its variants), with its settings and last figures."""
    loss = config.get("loss") or "sigmoid"
    title, symbols, settings = _dpo_loss(config, str(loss))
    if penalty := config.get("length_penalty"):
        symbols = symbols.replace("βΔ", "(βΔ+αδ)")
        settings += f", α {number(penalty)}, δ = |w| {MINUS} |l|"
    if weight := config.get("nll"):
        symbols += f" {IMITATED}"
        settings += f", λ {number(weight)}"
    return title, [
        Term(
            symbols,
            f"{number(latest.get('train/loss'))}    β {number(config.get('beta'))}{settings}",
            DESCENDED,
        ),
        _margin(
            latest,
            _delta("log π(y)/π_ref(y)", config.get("average") == "token"),
            "how much more the policy prefers the winner than the reference does",
            "β·Δ",
        ),
    ]


def _dpo_loss(config: Figures, loss: str) -> tuple[str, str, str]:
    """Title, loss, and the settings that it has besides β."""
    smoothing = config.get("label_smoothing") or 0.0
    smoothed = f", s {number(smoothing)}" if smoothing else ""
    if loss == "ipo":
        return "IPO", f"L = mean (Δ {MINUS} 1/2β)²", ""
    if config.get("ties") == "rao_kupper":
        symbols = f"L = {MINUS}mean log σ(βΔ {MINUS} t);  of ties log σ(±βΔ {MINUS} t)"
        return "DPO with ties", symbols, f", t {number(config.get('tie'))}"
    if loss == "robust":
        symbols = f"L = {MINUS}mean ((1{MINUS}s)·log σ(βΔ) {MINUS} s·log σ({MINUS}βΔ))/(1{MINUS}2s)"
        return "Robust DPO", symbols, smoothed
    if smoothing:
        return "DPO", f"L = {MINUS}mean (1{MINUS}s)·log σ(βΔ) + s·log σ({MINUS}βΔ)", smoothed
    return "DPO", f"L = {MINUS}mean log σ(βΔ)", ""


def simpo(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    """SimPO (Meng et al. 2024): no reference, a reward a token, a margin γ."""
    beta, gamma = number(config.get("beta")), number(config.get("gamma"))
    return "SimPO", [
        Term(
            f"L = {MINUS}mean log σ(βΔ {MINUS} γ)",
            f"{number(latest.get('train/loss'))}    β {beta}, γ {gamma}",
            DESCENDED,
        ),
        _margin(latest, _delta("log π(y)", True), "rewards a token, of winner over loser", "β·Δ"),
    ]


def cpo(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    """CPO (Xu et al. 2024): DPO with a uniform reference, and imitation of the winner."""
    beta, weight = number(config.get("beta")), number(config.get("nll"))
    return "CPO", [
        Term(
            f"L = {MINUS}mean log σ(βΔ) {IMITATED}",
            f"{number(latest.get('train/loss'))}    β {beta}, λ {weight}",
            DESCENDED,
        ),
        _margin(
            latest, _delta("log π(y)", False), "as DPO's with every response alike to the reference", "β·Δ"
        ),
    ]


def orpo(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    """ORPO (Hong et al. 2024): imitation of the winner and log odds against the loser."""
    return "ORPO", [
        Term(
            f"L = {MINUS}mean log π(w)/|w| + β·log σ(Δ)",
            f"{number(latest.get('train/loss'))}    β {number(config.get('beta'))}",
            DESCENDED,
        ),
        _margin(
            latest,
            f"Δ = log odds(w) {MINUS} log odds(l),  odds = P/(1{MINUS}P)",
            "P the geometric mean of the probabilities of a response's tokens",
            "Δ",
        ),
    ]


def kto(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    """KTO (Ethayarajh et al. 2024): each response for itself, against the KL z."""
    good, bad = number(config.get("desirable_weight")), number(config.get("undesirable_weight"))
    return "KTO", [
        Term(
            f"L = mean λ·σ({MINUS}β(r {MINUS} z)) if desirable, λ·σ(β(r {MINUS} z)) if not",
            f"{number(latest.get('train/loss'))}    β {number(config.get('beta'))}, λ {good} and {bad}",
            DESCENDED,
        ),
        Term(
            "r = log π(y)/π_ref(y)",
            f"mean β·r {number(latest.get('kto/desirable_reward'))} desirable, "
            f"{number(latest.get('kto/undesirable_reward'))} not    "
            f"accuracy {percent(latest.get('train/accuracy'))}    "
            f"held out {percent(latest.get('heldout/accuracy'))}",
            "how much likelier than under the reference",
        ),
        Term(
            "z = max(0, mean r of responses to other prompts)",
            f"{number(latest.get('kto/kl'))} nats",
            "where gain and loss are reckoned from; without gradient",
        ),
    ]


def _delta(reward: str, by_token: bool) -> str:
    one, other = (reward.replace("y", letter) for letter in "wl")
    if by_token:
        one, other = f"{one}/|w|", f"{other}/|l|"
    return f"Δ = {one} {MINUS} {other}"


def _margin(latest: Figures, symbols: str, words: str, name: str) -> Term:
    return Term(
        symbols,
        f"mean {name} {number(latest.get('train/margin'))}    "
        f"accuracy {percent(latest.get('train/accuracy'))}    "
        f"held out {percent(latest.get('heldout/accuracy'))}",
        words,
    )


def online_loss(config: Figures, latest: Figures) -> list[Term]:
    """The loss on samples of the policy itself; π_t is the one that sampled."""
    beta = f"{number(latest.get('policy/policy_loss'))}    β {number(config.get('beta'))}"
    other = "π_0" if config.get("reference") == "start" else "π_t"
    samples = f"{number(config.get('samples'))} samples a prompt"
    loss = config.get("loss") or "sigmoid"
    if loss == "sppo":
        symbols = f"L = mean (log π(y)/{other}(y) {MINUS} (P {MINUS} ½)/β)²"
        return [
            Term(symbols, beta, DESCENDED),
            Term("P = mean σ(s − s′)", samples, "how likely a sample wins against another of its prompt"),
        ]
    which = "best against worst" if config.get("pairs") == "best_worst" else "every pair that differs"
    symbols = f"L = mean (Δ {MINUS} 1/2β)²" if loss == "ipo" else f"L = {MINUS}mean log σ(βΔ)"
    return [
        Term(symbols, beta, DESCENDED),
        Term(_delta(f"log π(y)/{other}(y)", False), f"{samples}, {which}", "w scores higher than l"),
    ]
