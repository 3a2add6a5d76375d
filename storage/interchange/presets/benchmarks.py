"""Benchmarks of reward models."""

from __future__ import annotations

from storage.interchange.presets.preset import CARD, README, Preset, hub

RMB = "https://github.com/Zhou-Zoey/RMB-Reward-Model-Benchmark"
RMB_DATA = "the files in its repository, November 2026"

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
        RMB,
        ("conversation_input:messages", "bon_best.answer:text", "loser_list[].answer:texts"),
        (
            "id=bon_uid",
            "prompt=conversation_input",
            "chosen=bon_best.answer",
            "chosen_policy=bon_best.llm_name",
            "rejected=loser_list[].answer",
            "rejected_policy=loser_list[].llm_name",
            "subset=category_path",
        ),
        checked=f"{RMB_DATA}; no licence is given there",
    ),
    Preset(
        "rmb_pairs",
        "RMB: pairs, `chosen` and `reject`, with their scores",
        RMB,
        ("conversation_input:messages", "chosen.answer:text", "reject.answer:text", "pair_uid"),
        (
            "id=pair_uid",
            "prompt=conversation_input",
            "chosen=chosen.answer",
            "chosen_policy=chosen.llm_name",
            "chosen_rating=chosen.score",
            "rejected=reject.answer",
            "rejected_policy=reject.llm_name",
            "rejected_rating=reject.score",
            "subset=category_path",
        ),
        checked=f"{RMB_DATA}; no licence is given there",
    ),
)
