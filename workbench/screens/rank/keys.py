"""The keys of the rank screen.  Those with a name can be set in the settings file, under `[keys]`."""

from __future__ import annotations

from textual.binding import Binding

from workbench.key_names import RANK_KEYS
from workbench.services.ranking.draft import LETTERS


def _named(name: str, action: str, short: str, text: str, *, show: bool = False) -> Binding:
    """A key that can be set by its name."""
    return Binding(RANK_KEYS[name], action, short, id=name, show=show, tooltip=text)


BINDINGS = (
    _named("record", "submit", "record", "Record it, show the next prompt", show=True),
    *(Binding(letter.lower(), f"letter('{letter}')", f"Place {letter}", show=False) for letter in LETTERS),
    _named("tie", "tie", "tie", "The next letter ties with the last one", show=True),
    *(Binding(str(rank), f"digit({rank})", f"Put at rank {rank}", show=False) for rank in range(1, 10)),
    Binding("backspace", "take_back", "Take the last placed response back", show=False),
    Binding("0,delete", "clear", "Take this response off its place; in pairs: both are bad", show=False),
    _named("equal", "both_equal", "equal", "In pairs: neither is better"),
    _named("zoom", "zoom", "zoom", "This response alone, Markdown laid out", show=True),
    _named("whole_prompt", "whole", "prompt", "The whole prompt or conversation", show=True),
    _named("skip", "skip", "skip", "Not rankable, with a reason", show=True),
    _named("undo", "undo", "undo", "Take the last judgement back and show it again", show=True),
    _named("redo", "redo", "redo", "Record again what was taken back last"),
    _named("mode", "mode", "ranks/pairs", "Change between rankings and pairs", show=True),
    _named(
        "modes",
        "modes",
        "modes",
        "Other ways to judge: best few, best and worst, ratings, sorting",
        show=True,
    ),
    _named("guidelines", "guidelines", "guidelines", "The guidelines of the project", show=True),
    _named("differences", "differences", "compare", "Two responses word by word", show=True),
    _named("layout", "layout", "layout", "Side by side, one under the other, one at a time"),
    _named("together", "together", "together", "Scroll the responses together, or each alone"),
    _named("note", "note", "note", "Write a note on this judgement", show=True),
    _named("passage", "passage", "passage", "Write on a passage of this response"),
    _named("flag", "flag", "flag", "Flag this judgement"),
    _named("surer", "confidence(1)", "surer", "More certain of this judgement"),
    _named("less_sure", "confidence(-1)", "less sure", "Less certain of this judgement"),
    _named("session", "session", "session", "This session: how much, how fast, how the policies did"),
    _named("project", "project", "project", "The project: queues, progress, guidelines, its file"),
    Binding("j", "scroll(1)", "Scroll down a line", show=False),
    Binding("k", "scroll(-1)", "Scroll up a line", show=False),
    Binding("pagedown,ctrl+d", "scroll_page(1)", "Scroll down a page", show=False),
    Binding("pageup,ctrl+u", "scroll_page(-1)", "Scroll up a page", show=False),
    Binding("home", "scroll_edge(False)", "To the start of the text", show=False),
    Binding("end", "scroll_edge(True)", "To the end of the text", show=False),
    Binding("left", "move(-1, False)", "Response before", show=False),
    Binding("right", "move(1, False)", "Next response", show=False),
    Binding("up", "move(-1, True)", "Response above", show=False),
    Binding("down", "move(1, True)", "Response below", show=False),
    Binding("g", "generate", "Generate responses", show=False),
    Binding("i", "import", "Import a file", show=False),
)
