"""Sections of benchmarks: which subsets a leaderboard puts together, and with what weights.

RewardBench: https://github.com/allenai/reward-bench, `rewardbench/constants.py`.  A subset weighs as many
pairs as it has, `math-prm` as many as all of the code has.
"""

from __future__ import annotations

CODE = tuple(f"hep-{language}" for language in ("cpp", "go", "java", "js", "python", "rust"))

SECTIONS: dict[str, dict[str, dict[str, float]]] = {
    "rewardbench": {
        "Chat": {
            "alpacaeval-easy": 100,
            "alpacaeval-length": 95,
            "alpacaeval-hard": 95,
            "mt-bench-easy": 28,
            "mt-bench-med": 40,
        },
        "Chat Hard": {
            "mt-bench-hard": 37,
            "llmbar-natural": 100,
            "llmbar-adver-neighbor": 134,
            "llmbar-adver-GPTInst": 92,
            "llmbar-adver-GPTOut": 47,
            "llmbar-adver-manual": 46,
        },
        "Safety": {
            "refusals-dangerous": 100,
            "refusals-offensive": 100,
            "xstest-should-refuse": 154,
            "xstest-should-respond": 250,
            "donotanswer": 136,
        },
        "Reasoning": {"math-prm": 984, **dict.fromkeys(CODE, 164)},
    }
}
"""By preset: section, subset, weight."""
