"""What the rank screen says where there is nothing to judge, and what to press then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.content import Content

from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from workbench.services.ranking.judging import Pace

NOTHING = """Nothing to rank yet.

A prompt needs at least two responses.

[b]g[/b]   generate responses with a model
[b]i[/b]   import ranked responses or pairs"""
ALL_DONE = """Every prompt is judged.

[b]u[/b]   take the last judgement back
[b]p[/b]   change between rankings and pairs, [b]P[/b] other ways to judge
[b]E[/b]   this session: how much, how fast, how the policies did
[b]F8[/b]  train a reward model on the judgements"""
QUEUE_DONE = """Your queue in the project $project is done.

[b]Q[/b]   the project: how far everybody is
[b]u[/b]   take the last judgement back
[b]E[/b]   this session: how much and how fast"""
GUEST_DONE = """Nothing waits for you now.

[b]u[/b]   take the last judgement back
[b]E[/b]   this session: how much and how fast"""
RESTING = """Your queue in the project $project is done for now: $count more open $when.

[b]u[/b]   take the last judgement back"""
NO_QUEUE = """$annotator has no queue in the project $project.

[b]Q[/b]   the project: add the name to its annotators, or leave it"""


def nothing_content(pace: Pace, annotator: str, *, guest: bool = False) -> Content:
    """The sentence, and the keys that help; a guest has those of judging alone."""
    if pace.resting:
        opens = pace.opens_at
        when = "later" if opens is None else time.strftime("from %d %B %H:%M", time.localtime(opens))
        return Content.from_markup(
            RESTING, project=safe_line(pace.project, 40), count=f"{pace.resting:,}", when=when
        )
    if guest:
        return Content.from_markup(GUEST_DONE)
    if not pace.project:
        return Content.from_markup(ALL_DONE if pace.done else NOTHING)
    return Content.from_markup(
        QUEUE_DONE if pace.done else NO_QUEUE,
        project=safe_line(pace.project, 40),
        annotator=safe_line(annotator, 40),
    )
