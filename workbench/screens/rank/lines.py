"""The lines around an item on the rank screen, as pure functions of what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from engine.wording import counted
from workbench.services.ranking.draft import CONFIDENCE, MODES, Draft, Mode
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from workbench.services.live import Agreement, LiveState
    from workbench.services.ranking.judging import Pace

Part = Content | str | tuple[str, str]
BARS = "▁▂▃▄▅▆▇█"
SPARKS = 8
"""Fits that the sparkline goes back."""


def pace_line(pace: Pace | None, draft: Draft, mode: Mode, acknowledged: str, room: int) -> Content:
    """`12 done · 118 left · 96 an hour`, what was just recorded, and what stands beside the judgement.

    In a project its name, and how long the rest of the queue takes at that pace.
    """
    beside: list[Part] = []
    if draft.flagged:
        beside.append(("   ! flagged", "bold $warning"))
    if draft.confidence:
        beside.append((f"   {CONFIDENCE[draft.confidence]}", "$warning"))
    if draft.note:
        beside.append((f"   note: {safe_line(draft.note, 100)}", "$warning"))
    if draft.spans:
        beside.append((f"   {counted(len(draft.spans), 'passage')}", "$warning"))
    if acknowledged:
        beside.append((f"   {acknowledged}", "$secondary"))
    end = Content.assemble(*beside)
    start = Content("") if pace is None else _pace_content(pace, mode, room - end.cell_length)
    return (start + end).truncate(max(20, room), ellipsis=True)


def _pace_content(pace: Pace, mode: Mode, room: int) -> Content:
    """How much is done and left, and how fast as far as there is room."""
    line = Content.assemble(
        (safe_line(pace.project, 20) or MODES[mode], "bold $primary"),
        "  ",
        (f"{pace.done:,}", "bold"),
        " done · ",
        (f"{pace.remaining:,}", "bold"),
        " left",
    )
    extras = [f" · {duration(pace.seconds_left)} to go"] if pace.seconds_left else []
    extras += [f" · {pace.per_hour:,.0f} an hour"] if pace.per_hour else []
    for extra in extras:
        if line.cell_length + len(extra) <= room:
            line += Content(extra)
    return line


def duration(seconds: float) -> str:
    """`40 s`, `25 min`, `3 h 20 min`: as fine as one plans by."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


Scales = Mapping[str, Sequence[str]]
HINTS: Mapping[str, str] = {
    "rank": "Press letters from best to worst, = between equals, or arrows and 1–9.",
    "best": "Press letters from the best down, as many as matter, then ⏎: the rest is worse.",
    "best_worst": "Press the letter of the best, then of the worst.",
}


def order_line(draft: Draft, rating: tuple[str, str] | None, scales: Scales, *, incomplete: bool) -> Content:
    """What has been said so far and what to press; `incomplete` after ⏎ came too early."""
    if draft.mode == "pair":
        return _keys(("a b", "better  "), ("1 … 5", "A much, A slightly, equal, B slightly, B much  "),
                     ("t", "equal  "), ("0", "both bad"))  # fmt: skip
    if draft.mode == "sort":
        return _sorting_line(draft)
    if draft.mode == "rate":
        return _rating_line(draft, rating, scales, incomplete=incomplete)
    if incomplete and draft.mode == "rank":
        left = " ".join(draft.left)
        return Content.styled(f"Place every response first; left: {left}", "bold $warning")
    if not draft.placed:
        return Content.styled(HINTS[draft.mode], "bold $warning" if incomplete else "$foreground-muted")
    said = draft.said() if draft.complete else draft.order()
    order = Content.styled(said + (" = …" if draft.tie_next and not draft.complete else ""), "bold")
    if draft.complete:
        return Content.assemble(order, ("    ⏎", "bold $secondary"), (" records it", "$foreground-muted"))
    return Content.assemble(order, (f"    left: {' '.join(draft.left)}", "$foreground-muted"))


def _sorting_line(draft: Draft) -> Content:
    """What to press, and how many comparisons are to come at most."""
    done = f"{len(draft.answers)} compared"
    if draft.complete:
        return Content.assemble(
            (f"All {len(draft.responses)} are in order, {done}.    ", "bold"),
            ("⏎", "bold $secondary"),
            (" records it", "$foreground-muted"),
        )
    keys = _keys(("a b", "better  "), ("=", "equal  "), ("⌫", "back  "))
    return keys + Content.styled(f" {done}, at most {draft.sorting.left} to go", "$foreground-muted")


def _keys(*hints: tuple[str, str]) -> Content:
    parts: list[Part] = []
    for key, text in hints:
        parts += [(key, "bold $secondary"), (f" {text}", "$foreground-muted")]
    return Content.assemble(*parts)


def _rating_line(
    draft: Draft, rating: tuple[str, str] | None, scales: Scales, *, incomplete: bool
) -> Content:
    """`B helpfulness  1 poor 2 fair 3 good`, or that all is rated."""
    if draft.complete:
        return Content.assemble(
            "All is rated.    ", ("⏎", "bold $secondary"), (" records it", "$foreground-muted")
        )
    if rating is None:
        return Content("")
    criterion, letter = rating
    words = [
        (str(value), f"{safe_line(word, 20)} ") for value, word in enumerate(scales.get(criterion, ()), 1)
    ]
    missing = len(draft.criteria) * len(draft.responses) - len(draft.ratings)
    start = Content.styled(
        f"{letter} {safe_line(criterion, 30)}  ", "bold $warning" if incomplete else "bold"
    )
    return Content.assemble(start, _keys(*words), (f"   {missing} to go", "$foreground-muted"))


def live_line(state: LiveState, agreement: Content | None, queue: str, room: int) -> Content:
    """What the live model has learned, or what it waits for; at the right the order of the queue.

    `agreement` stands instead for a moment after a judgement.
    """
    right = Content.assemble(("o ", "$secondary"), (queue, "$foreground-muted"))
    space = max(20, room - right.cell_length - 2)
    left = (agreement or live_content(state, space)).truncate(space, ellipsis=True)
    gap = max(2, room - left.cell_length - right.cell_length)
    return Content.assemble(left, " " * gap, right)


def live_content(state: LiveState, room: int) -> Content:
    """`live 34 judgements · held-out 0.71 ± 0.04 · log-loss 0.56 ▁▃▅ · refit 0.4 s`, as much as fits."""
    title = Content.styled("live ", "bold $primary")
    if not state.refits:
        return title + _waiting_for(state)
    wide = _pieces(state, with_error=True)
    if len(Content(" · ").join(wide)) + len(title) > room:
        wide = _pieces(state, with_error=False)
    line = title + Content(" · ").join(wide)
    for extra in _extras(state):
        if len(line) + len(extra) + 3 <= room:
            line += Content(" · ") + extra
    return line


def _pieces(state: LiveState, *, with_error: bool) -> list[Content]:
    """How much the model has seen and how good it is on prompts that it has not seen."""
    if state.problem:
        return [Content.styled(safe_line(state.problem, 300), "$warning")]
    pieces = [Content.assemble((f"{state.judgements:,}", "bold"), " judgements")]
    if state.accuracy is not None:
        error = f" ± {state.accuracy_error:.2f}" if with_error and state.accuracy_error else ""
        pieces.append(Content.assemble("held-out ", (f"{state.accuracy:.2f}", "bold"), error))
    if state.log_loss is not None:
        coin = ", no better than a coin" if state.log_loss >= COIN else ""
        curve = sparkline(state.history)
        pieces.append(
            Content.assemble("log-loss ", (f"{state.log_loss:.2f}", "bold"), f"{coin} {curve}".rstrip())
        )
    return pieces


def _extras(state: LiveState) -> list[Content]:
    """What stands there when there is room, the most useful first."""
    extras = []
    if state.computing:
        extras.append(Content(f"features: {safe_line(state.computing, 40)}"))
    elif state.without_features:
        new = f" features of {counted(state.without_features, 'response')}"
        extras.append(Content.assemble(("L", "bold $secondary"), new))
    extras.append(Content("refitting …" if state.working else f"refit {state.seconds or 0:.1f} s"))
    return extras


COIN = 0.6931
"""ln 2, the log-loss of a coin, rounded down: a fit at it has learned nothing."""


def _waiting_for(state: LiveState) -> Content:
    if state.problem:
        return Content.styled(safe_line(state.problem, 300), "$warning")
    if state.computing:
        return Content.assemble("features are being computed: ", (safe_line(state.computing, 40), "bold"))
    if not state.base:
        return Content.assemble(("L", "bold $secondary"), " starts a reward model that learns as you rank")
    if state.working:
        return Content("first fit …")
    return Content.assemble("from the 20th judgement, ", (f"{state.missing}", "bold"), " to go")


def agreement_line(agreement: Agreement, letters: Mapping[str, str]) -> Content:
    """How the model would have ranked what was just judged."""
    order = " > ".join(letters.get(response, "?") for response in agreement.order)
    return Content.assemble(
        ("model: ", "$foreground-muted"), (order, "bold"),
        (f"  agrees on {agreement.agree} of {counted(agreement.pairs, 'pair')}", "$secondary"),
    )  # fmt: skip


def sparkline(values: Sequence[float], width: int = SPARKS) -> str:
    """The last values as bars, between the least and the greatest of them; all equal are all low."""
    shown = values[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = high - low
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] for value in shown)
