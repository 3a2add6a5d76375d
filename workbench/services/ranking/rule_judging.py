"""Rule annotators at work on a store."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import judgements, prompts
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from workbench.services.ranking.rules import PREFIX, RULES, Rule

RULE_BATCH = 500
"""Judgements of a rule written in one transaction."""


def apply(
    store: Store,
    rule: str,
    *,
    criterion: str = "overall",
    only: Collection[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Let a rule rank all responses of every prompt that has two or more; the number of new judgements.

    Prompts that the rule has already judged with the same responses are left alone; where responses came
    since, a new ranking supersedes the old one.  `only` limits it to these prompt ids; `on_progress`
    hears (prompts done, prompts in all).  Raises `UsageError` for an unknown rule.
    """
    name = rule.removeprefix(PREFIX)
    if name not in RULES:
        raise UsageError(f"There is no rule “{rule}”. {did_you_mean(name, RULES)}")
    waiting = judgements.prompts_to_rank(store, PREFIX + name, criterion, limit=None)
    if only is not None:
        waiting = [prompt_id for prompt_id in waiting if prompt_id in set(only)]
    for start in range(0, len(waiting), RULE_BATCH):
        batch = waiting[start : start + RULE_BATCH]
        made = [_judge(store, RULES[name], name, prompt_id, criterion) for prompt_id in batch]
        judgements.record_many(store, made)
        if on_progress is not None:
            on_progress(start + len(batch), len(waiting))
    return len(waiting)


def _judge(store: Store, rule: Rule, name: str, prompt_id: str, criterion: str) -> NewJudgement:
    """The rule's ranking of all responses to a prompt, replacing the one that stands."""
    annotator = PREFIX + name
    prompt = prompts.shown_text(prompts.messages(store, prompt_id))
    candidates = judgements.candidates(store, prompt_id, annotator, criterion)
    values = [_value(rule, name, prompt, entry.text) for entry in candidates]
    levels = sorted(set(values), reverse=True)
    earlier = judgements.standing(store, prompt_id, annotator, criterion)
    return NewJudgement(
        prompt_id=prompt_id,
        annotator=annotator,
        kind="ranking",
        items=tuple(
            JudgedItem(entry.response_id, rank=levels.index(value) + 1)
            for entry, value in zip(candidates, values, strict=True)
        ),
        criterion=criterion,
        supersedes=earlier[-1].judgement_id if earlier else None,
    )


def _value(rule: Rule, name: str, prompt: str, text: str) -> float:
    """What the rule says of a response.  Raises UsageError when it fails or gives no number."""
    try:
        value = float(rule(prompt, text))
    except (Exception, SystemExit) as error:  # a plugin's own code may raise anything
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"The rule “{name}” failed ({type(error).__name__}: {reason}).") from error
    if math.isnan(value):
        raise UsageError(f"The rule “{name}” gave no number for a response.")
    return value
