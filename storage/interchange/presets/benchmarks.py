"""Benchmarks of reward models."""

from __future__ import annotations

from storage.interchange.presets.preset import CARD, README, Preset, hub

BENCHMARKS: tuple[Preset, ...] = (
    Preset(
        "rewardbench2",
        "RewardBench 2: the best of four, by subset",
        hub("allenai/reward-bench-2"),
        ("prompt", "chosen:texts", "rejected:texts", "models:texts", "subset:text"),
        ("id=id", "prompt=prompt", "chosen=chosen", "rejected=rejected", "policies=models", "subset=subset"),
        licence="ODC-BY-1.0",
        checked=CARD,
    ),
    Preset(
        "rewardbench",
        "RewardBench: pairs by subset",
        hub("allenai/reward-bench"),
        (
            "prompt",
            "chosen:text|messages",
            "rejected:text|messages",
            "chosen_model:text",
            "rejected_model:text",
            "subset:text",
        ),
        (
            "id=id",
            "prompt=prompt",
            "chosen=chosen",
            "rejected=rejected",
            "chosen_policy=chosen_model",
            "rejected_policy=rejected_model",
            "subset=subset",
        ),
        licence="ODC-BY-1.0",
        checked=CARD,
    ),
    Preset(
        "llmbar",
        "LLMBar: two outputs and the label 1 or 2 of the better one",
        "https://github.com/princeton-nlp/LLMBar",
        ("input:text", "output_1:text", "output_2:text", "label:number"),
        (
            "prompt=input",
            "response_a=output_1",
            "response_b=output_2",
            "winner=label{1:a, 2:b}",
            "subset=subset",
        ),
        licence="MIT",
        without=("instruction",),
        checked=README,
    ),
    Preset(
        "rmb",
        "RMB: the best of several by its `bon_best` and `loser_list`",
        "https://github.com/Zhou-Zoey/RMB-Reward-Model-Benchmark",
        ("conversation_input:messages", "bon_best.answer:text", "loser_list[].answer:texts"),
        (
            "id=bon_uid",
            "prompt=conversation_input",
            "chosen=bon_best.answer",
            "chosen_policy=bon_best.llm_name",
            "rejected=loser_list[].answer",
            "subset=category_path",
        ),
    ),
)
