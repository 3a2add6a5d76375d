"""Data sets and tools that are known by their columns: what each column is, and where it is documented.

A preset fits where every path in `needs` is there and holds what stands behind the colon (see
`mapping.profile.Column.kind`); more than one kind is separated by a bar.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    name: str
    about: str
    source: str  # of the data set or the tool's documentation
    needs: tuple[str, ...]
    mapping: tuple[str, ...]
    unfold: str | None = None  # of presets.unfold, brings rows into a plain form first
    licence: str | None = None
    without: tuple[str, ...] = ()  # columns that tell it apart from a data set with more of them


def hub(name: str) -> str:
    return f"https://huggingface.co/datasets/{name}"


SPOKEN = "text|messages|transcript"
PRESETS: tuple[Preset, ...] = (
    Preset(
        "ultrafeedback_binarized",
        "UltraFeedback as pairs with scores (also Zephyr's and other binarised sets in this layout)",
        hub("HuggingFaceH4/ultrafeedback_binarized"),
        ("prompt:text", "prompt_id", "chosen:messages", "rejected:messages", "messages:messages", "score_chosen:number", "score_rejected:number"),
        ("prompt=prompt", "id=prompt_id", "chosen=chosen", "rejected=rejected", "chosen_rating=score_chosen", "rejected_rating=score_rejected", "ignore=messages"),
        licence="MIT",
    ),
    Preset(
        "ultrafeedback",
        "UltraFeedback: four completions a prompt, rated by four criteria",
        hub("openbmb/UltraFeedback"),
        ("instruction:text", "completions:objects", "completions[].response", "completions[].model", "completions[].annotations"),
        ("prompt=instruction", "responses=completions[].response", "policies=completions[].model", "ratings=completions[].overall_score",
         "criterion.*=completions[].annotations.*.Rating", "source=source", "ignore=models"),
        licence="MIT",
    ),
    Preset(
        "helpsteer",
        "HelpSteer and HelpSteer2: responses rated from 0 to 4 by five criteria",
        hub("nvidia/HelpSteer2"),
        (f"prompt:{SPOKEN}", "response:text", "helpfulness:number", "correctness:number", "coherence:number", "complexity:number", "verbosity:number"),
        ("prompt=prompt", "response=response", "criterion.helpfulness=helpfulness", "criterion.correctness=correctness",
         "criterion.coherence=coherence", "criterion.complexity=complexity", "criterion.verbosity=verbosity"),
        licence="CC-BY-4.0",
    ),
    Preset(
        "helpsteer2_preference",
        "HelpSteer2's preferences: −3 the first response is much better, 3 the second",
        hub("nvidia/HelpSteer2"),
        ("prompt", "response_1", "response_2", "preference_strength:number"),
        ("prompt=prompt", "response_a=response_1", "response_b=response_2", "winner=preference_strength{-3:a, -2:a, -1:a, 0:tie, 1:b, 2:b, 3:b}", "split=split"),
        licence="CC-BY-4.0",
    ),
    Preset(
        "helpsteer3",
        "HelpSteer3's preferences: −3 the first response is much better, 3 the second; the annotators' own under `individual`",
        hub("nvidia/HelpSteer3"),
        ("context:messages", "response1:text", "response2:text", "overall_preference:number"),
        ("prompt=context", "response_a=response1", "response_b=response2", "winner=overall_preference{-3:a, -2:a, -1:a, 0:tie, 1:b, 2:b, 3:b}",
         "winner.individual=individual_preference[].score{-3:a, -2:a, -1:a, 0:tie, 1:b, 2:b, 3:b}", "subset=domain"),
        licence="CC-BY-4.0",
    ),
    Preset(
        "shp",
        "Stanford Human Preferences: two answers on Reddit, by upvotes; labels is 1 where A is preferred",
        hub("stanfordnlp/SHP"),
        ("history:text", "human_ref_A:text", "human_ref_B:text", "labels:number"),
        ("prompt=history", "response_a=human_ref_A", "response_b=human_ref_B", "winner=labels{1:a, 0:b}", "rating_a=score_A",
         "rating_b=score_B", "id=post_id", "subset=domain"),
    ),
    Preset(
        "nectar",
        "Nectar: seven ranked answers a prompt",
        hub("berkeley-nest/Nectar"),
        ("prompt", "answers:objects", "answers[].answer", "answers[].rank"),
        ("prompt=prompt", "responses=answers[].answer", "policies=answers[].model", "ranks=answers[].rank", "source=source"),
        licence="Apache-2.0",
    ),
    Preset(
        "arena_55k",
        "Chatbot Arena, 55,000 battles, one column an outcome",
        hub("lmarena-ai/arena-human-preference-55k"),
        ("prompt", "response_a", "response_b", "winner_model_a:number|truth", "winner_model_b:number|truth", "winner_tie:number|truth"),
        ("id=id", "prompt=prompt as turns", "response_a=response_a as turns", "response_b=response_b as turns",
         "policy_a=model_a", "policy_b=model_b", "won_a=winner_model_a", "won_b=winner_model_b", "won_tie=winner_tie"),
        licence="Apache-2.0",
    ),
    Preset(
        "arena",
        "Chatbot Arena and MT-Bench battles: two whole conversations and a winner",
        hub("lmsys/chatbot_arena_conversations"),
        ("conversation_a:messages", "conversation_b:messages", "model_a:text", "model_b:text", "winner:text"),
        ("id=question_id", "response_a=conversation_a", "response_b=conversation_b", "policy_a=model_a", "policy_b=model_b",
         "winner=winner", "annotator=judge"),
        licence="CC",
    ),
    Preset(
        "multipref",
        "MultiPref: each pair by several crowd workers and experts, by four criteria",
        hub("allenai/multipref"),
        ("text", "completion_a", "completion_b", "normal_worker_annotations:objects", "normal_worker_annotations[].overall_pref"),
        ("prompt=text", "id=prompt_id", "response_a=completion_a", "response_b=completion_b", "policy_a=model_a", "policy_b=model_b",
         *(f"winner={who}_worker_annotations[].overall_pref" for who in ("normal", "expert")),
         *(f"winner.{c}={who}_worker_annotations[].{c}_pref" for c in ("helpful", "truthful", "harmless") for who in ("normal", "expert")),
         *(f"annotator={who}_worker_annotations[].evaluator" for who in ("normal", "expert")),
         "source=source", "subset=category"),
        licence="ODC-BY-1.0",
    ),
    Preset(
        "hh",
        "Anthropic's helpful and harmless: two transcripts that share their turns",
        hub("Anthropic/hh-rlhf"),
        ("chosen:transcript", "rejected:transcript"),
        ("chosen=chosen", "rejected=rejected"),
        licence="MIT",
        without=("prompt",),
    ),
    Preset(
        "pku_saferlhf",
        "PKU-SafeRLHF: which of two is better, and which is safer",
        hub("PKU-Alignment/PKU-SafeRLHF"),
        ("prompt", "response_0", "response_1", "better_response_id:number", "safer_response_id:number"),
        ("prompt=prompt", "response_a=response_0", "response_b=response_1", "winner=better_response_id{0:a, 1:b}",
         "winner.safety=safer_response_id{0:a, 1:b}", "policy_a=response_0_source", "policy_b=response_1_source", "source=prompt_source"),
        licence="CC-BY-NC-4.0",
    ),
    Preset(
        "webgpt",
        "WebGPT comparisons: scores from −1 to 1 that sum to 0",
        hub("openai/webgpt_comparisons"),
        ("question.full_text", "answer_0:text", "answer_1:text", "score_0:number", "score_1:number"),
        ("prompt=question.full_text", "id=question.id", "source=question.dataset", "response_a=answer_0", "response_b=answer_1",
         "rating_a=score_0", "rating_b=score_1", "keep=question"),
    ),
    Preset(
        "tldr_comparisons",
        "TL;DR and CNN/DM summaries compared; choice is the place of the better one, from 0",
        hub("openai/summarize_from_feedback"),
        ("info:object", "summaries:objects", "summaries[].text", "choice:number"),
        ("prompt=prompt", "id=info.id", "responses=summaries[].text", "policies=summaries[].policy", "best=choice", "annotator=worker", "split=split", "keep=info"),
        unfold="tldr",
    ),
    Preset(
        "tldr_axis",
        "TL;DR and CNN/DM summaries rated by several criteria",
        hub("openai/summarize_from_feedback"),
        ("info:object", "summary:object", "summary.text", "summary.axes"),
        ("prompt=prompt", "id=info.id", "response=summary.text", "policy=summary.policy", "criterion.*=summary.axes.*",
         "annotator=worker", "note=summary.note", "split=split", "keep=info"),
        unfold="tldr",
    ),
    Preset(
        "rewardbench2",
        "RewardBench 2: the best of four, by subset",
        hub("allenai/reward-bench-2"),
        ("prompt", "chosen:texts", "rejected:texts", "models:texts", "subset:text"),
        ("id=id", "prompt=prompt", "chosen=chosen", "rejected=rejected", "policies=models", "subset=subset"),
        licence="ODC-BY-1.0",
    ),
    Preset(
        "rewardbench",
        "RewardBench: pairs by subset",
        hub("allenai/reward-bench"),
        ("prompt", "chosen:text|messages", "rejected:text|messages", "chosen_model:text", "rejected_model:text", "subset:text"),
        ("id=id", "prompt=prompt", "chosen=chosen", "rejected=rejected", "chosen_policy=chosen_model", "rejected_policy=rejected_model", "subset=subset"),
        licence="ODC-BY-1.0",
    ),
    Preset(
        "llmbar",
        "LLMBar: two outputs and the label 1 or 2 of the better one",
        "https://github.com/princeton-nlp/LLMBar",
        ("input:text", "output_1:text", "output_2:text", "label:number"),
        ("prompt=input", "response_a=output_1", "response_b=output_2", "winner=label{1:a, 2:b}", "subset=subset"),
        licence="MIT",
        without=("instruction",),
    ),
    Preset(
        "orca_dpo",
        "Orca DPO pairs: system, question, chosen, rejected",
        hub("Intel/orca_dpo_pairs"),
        ("system", "question:text", "chosen:text", "rejected:text"),
        ("system=system", "prompt=question", "chosen=chosen", "rejected=rejected"),
        licence="Apache-2.0",
    ),
    Preset(
        "kto",
        "TRL's unpaired preferences: prompt, completion, and whether it is good",
        "https://huggingface.co/docs/trl/dataset_formats#unpaired-preference",
        ("prompt", "completion", "label:truth"),
        ("prompt=prompt", "response=completion", "label=label"),
    ),
    Preset(
        "stepwise",
        "TRL's stepwise supervision: the steps of one solution, each right or wrong",
        "https://huggingface.co/docs/trl/dataset_formats#stepwise-supervision",
        (f"prompt:{SPOKEN}", "completions:texts", "labels:truths"),
        ("prompt=prompt", "steps=completions", "step_labels=labels"),
    ),
    Preset(
        "prm800k",
        "PRM800K: solutions step by step, each step rated −1, 0 or 1",
        "https://github.com/openai/prm800k",
        ("question.problem", "label.steps:objects"),
        ("prompt=problem", "reference=reference", "steps=steps", "step_labels=step_labels", "annotator=labeler"),
        unfold="prm800k",
        licence="MIT",
    ),
    Preset(
        "oasst_trees",
        "OpenAssistant's trees: every reply to a turn, ranked by people",
        hub("OpenAssistant/oasst1"),
        ("message_tree_id", "prompt:object", "prompt.replies"),
        ("id=id", "prompt=prompt", "responses=responses[].text", "ranks=responses[].rank"),
        unfold="oasst_tree",
        licence="Apache-2.0",
    ),
    Preset(
        "oasst",
        "OpenAssistant's messages, one a row; the rows of a tree stand together",
        hub("OpenAssistant/oasst1"),
        ("message_id", "parent_id", "text", "role", "message_tree_id"),
        ("id=id", "prompt=prompt", "responses=responses[].text", "ranks=responses[].rank"),
        unfold="oasst_messages",
        licence="Apache-2.0",
    ),
    Preset(
        "argilla",
        "Argilla's records as JSON: fields, responses of annotators, suggestions",
        "https://docs.argilla.io/latest/how_to_guides/import_export/",
        ("fields:object", "responses", "suggestions"),
        ("id=id", "annotator=annotator", "responses=responses[].text", "ranks=responses[].rank", "ratings=ratings", "best=best"),
        unfold="argilla",
    ),
    Preset(
        "labelstudio",
        "Label Studio's tasks as JSON: pairwise choice, ranker, rating, choices",
        "https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks",
        ("data:object", "annotations"),
        ("id=id", "annotator=annotator", "seconds=seconds", "note=note", "responses=responses[].text", "ranks=responses[].rank", "ratings=responses[].rating"),
        unfold="labelstudio",
    ),
)  # fmt: skip
BY_NAME = {preset.name: preset for preset in PRESETS}
