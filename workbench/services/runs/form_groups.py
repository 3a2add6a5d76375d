"""In which groups the settings of a job stand in a form, and which of them come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.protocol.catalog import JOBS
from engine.protocol.configs import PolicyLearningConfig

ESSENTIALS: Mapping[str, Sequence[str]] = {
    "generate": ("policy", "prompts", "samples", "max_new_tokens", "temperature"),
    "reward": ("name", "policy", "annotator", "criterion", "tuning", "holdout"),
    "process_reward": ("name", "policy", "annotator", "neutral", "separator", "holdout"),
    "ppo": (
        *("name", "policy", "reward_model", "prompts", "steps", "prompts_per_step", "samples"),
        *("max_new_tokens", "learning_rate", "kl", "beta", "tuning"),
    ),
    "dpo": ("name", "policy", "annotator", "loss", "beta", "epochs", "learning_rate", "tuning"),
    "simpo": ("name", "policy", "annotator", "beta", "gamma", "epochs", "learning_rate", "tuning"),
    "cpo": ("name", "policy", "annotator", "beta", "nll", "epochs", "learning_rate", "tuning"),
    "orpo": ("name", "policy", "annotator", "beta", "epochs", "learning_rate", "tuning"),
    "kto": ("name", "policy", "annotator", "labels", "beta", "epochs", "learning_rate", "tuning"),
    "sft": ("name", "policy", "learn_from", "annotator", "epochs", "learning_rate", "tuning"),
    "best_of_n": ("name", "policy", "reward_model", "prompts", "samples", "max_new_tokens"),
    "judge": (
        *("by", "policy", "endpoint", "reward_model", "function", "rubric", "criterion", "pairs", "prompts"),
        "name",
    ),
    "overoptimise": (
        *("gold", "policy", "prompts", "labels", "replicates", "conservative", "samples", "max_new_tokens"),
        "steps",
    ),
    "export": ("reward_model", "int8"),
    "score": ("reward_model",),
    "register": ("name", "model"),
}
"""What a person sets, by job; the others are kept folded.  One that is needed is always among them, and what
learns from its own outputs has those of PPO unless it has its own."""

GROUPS: Mapping[str, Sequence[str]] = {
    "Data": (
        *(
            "prompts",
            "experiment",
            "limit",
            "annotator",
            "annotator_kinds",
            "criterion",
            "annotators",
            "weights",
            "learn_from",
            "responses_of",
            "labels",
            "threshold",
        ),
        *("queue_responses", "truncated", "max_tokens", "max_prompt_tokens", "holdout", "heldout_prompts"),
    ),
    "Judging": ("pairs_a_prompt", "disagreement", "max_characters", "judge"),
    "Endpoint": (
        *("at_once", "requests_a_minute", "retries", "answer_seconds", "key_variable", "options"),
        *("price_in", "price_out", "budget"),
    ),
    "Sampling": (
        *("samples", "temperature", "top_p", "max_new_tokens", "template", "stop", "endpoint", "protocol"),
        *("batch_sequences", "step_samples", "resample", "mixture_share"),
    ),
    "Reward": (
        *(
            "reward_model",
            "rewards",
            "function_seconds",
            "ensemble",
            "members",
            "gold",
            "gold_every",
            "normalise_score",
        ),
        *(
            "step_score",
            "process_reward",
            "process_weight",
            "missing_stop_penalty",
            "overlong_tokens",
            "overlong_penalty",
            "constraint",
            "constraint_bound",
            "constraints",
            "constraint_rate",
            "multiplier",
        ),
    ),
    "Objective": (
        *(
            "objective",
            "pairwise",
            "neutral",
            "after_wrong",
            "separator",
            "compare",
            "preference",
            "judged_share",
            "pairs",
            "loss",
            "reference",
            "beta",
            "ties",
            "tie",
            "margin",
            "label_smoothing",
            "centring",
        ),
        *("average", "length_penalty", "nll", "desirable_weight", "undesirable_weight", "lm_coefficient"),
        *(
            "length",
            "surrogate",
            "clip",
            "clip_high",
            "ratio",
            "ratio_cap",
            "staleness",
            "baseline",
            "scale_advantages",
        ),
        *("scale_of",),
        *("loss_average", "kl_loss", "entropy_bonus", "gamma", "lam", "whiten_advantages"),
    ),
    "Divergence from the reference": (
        "kl",
        "kl_to",
        "kl_target",
        "kl_horizon",
        "kl_bound",
        "target_kl_update",
    ),
    "Critic": ("critic", "critic_learning_rate", "clip_value", "value_coefficient"),
    "Model": ("chat_template", "tuning", "lora_rank", "base", "int8", "fp16", "tolerance", "tau_int8"),
    "Optimiser": (
        *("steps", "epochs", "prompts_per_step", "minibatches", "microbatch", "batch_prompts"),
        *("batch_tokens", "learning_rate", "warmup_steps", "max_grad_norm"),
    ),
    "Watching": (
        *(
            "evaluations",
            "evaluate_every",
            "evaluate_prompts",
            "trace_every",
            "policy_every",
            "collapse",
            "collapse_share",
        ),
        *("folds", "budget_minutes", "checkpoint_every"),
    ),
    "Machine": ("seed", "device", "devices", "nodes", "sharding", "activations", "trainer", "dtype", "on"),
}
"""Every other setting, by subject, in the order of a form."""
OTHER = "More"


def essentials(kind: str, names: Sequence[str], required: Sequence[str]) -> list[str]:
    """Settings that come first, in order; `names` are those of the job, `required` the needed ones."""
    learns = kind in JOBS and issubclass(JOBS[kind].config, PolicyLearningConfig)
    first = ESSENTIALS["ppo"] if learns and kind not in ESSENTIALS else ESSENTIALS.get(kind, ())
    return [*(name for name in required if name not in first), *(name for name in first if name in names)]


def groups(names: Sequence[str]) -> dict[str, list[str]]:
    """The settings `names` by group, groups in order; what no group knows comes last."""
    fields_by_title = {
        title: [name for name in members if name in names] for title, members in GROUPS.items()
    }
    known = {name for members in GROUPS.values() for name in members}
    fields_by_title[OTHER] = [name for name in names if name not in known]
    return {title: members for title, members in fields_by_title.items() if members}
