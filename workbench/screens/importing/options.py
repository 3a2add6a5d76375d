"""What a person says of a file beside its columns: encoding, names for what it does not name, bad rows."""

from __future__ import annotations

import codecs
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from workbench.services.import_draft import ImportOptions
from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeInput

FIELDS = (
    ("encoding", "encoding", "UTF-8 and UTF-16 are found; else cp1252, latin-1 …"),
    ("policy", "policy", "of responses that name none"),
    ("annotator", "annotator", "of judgements that name none"),
    ("criterion", "criterion", "of judgements that name none"),
    ("source", "source", "name under which the prompts are found again"),
    ("bad", "bad rows", "at most this share of the rows, as 10%; 0: not one"),
)


class ImportOptionsScreen(ModalScreen[ImportOptions | None]):
    """A field a line; ⏎ takes them, escape leaves all as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Leave them as they were"),
        Binding("enter", "take", "Take them", priority=True),
        Binding("down", "app.focus_next", "Next field", show=False),
        Binding("up", "app.focus_previous", "Field before", show=False),
    ]
    CSS_PATH = "files.tcss"
    AUTO_FOCUS = "#encoding"

    def __init__(self, options: ImportOptions) -> None:
        super().__init__()
        self.options = options

    def compose(self) -> ComposeResult:
        request = self.options.request
        bad = "0" if self.options.strict else f"{self.options.most_bad:.0%}"
        values = {name: getattr(request, name, None) or "" for name, _, _ in FIELDS} | {"bad": bad}
        with Vertical(classes="dialog") as box:
            box.border_title = "About this file"
            box.border_subtitle = "↑↓ field · ⏎ take · esc back"
            for name, label, hint in FIELDS:
                with Horizontal(classes="field"):
                    yield Static(label, classes="label", markup=False)
                    yield SafeInput(safe_line(str(values[name]), 200), hint, id=name, compact=True)
            yield Static(id="option-says", markup=False)

    @on(Input.Changed)
    def typed(self) -> None:
        """What was said of an option is gone as soon as it is changed."""
        self.query_one("#option-says", Static).update("")

    def action_take(self) -> None:
        """Takes the options as they stand, or says which one cannot be."""
        said = {name: self.query_one(f"#{name}", Input).value.strip() for name, _, _ in FIELDS}
        share = share_of(said["bad"])
        if share is None:
            self._refuse("bad", f"“{said['bad']}” is not a share of the rows: write 10%, or 0 for not one.")
            return
        if said["encoding"] and not _known(said["encoding"]):
            self._refuse("encoding", f"There is no encoding “{said['encoding']}”: cp1252, latin-1, gb18030 …")
            return
        request = replace(
            self.options.request,
            encoding=said["encoding"] or None,
            policy=said["policy"] or None,
            annotator=said["annotator"] or None,
            source=said["source"] or None,
            criterion=said["criterion"] or "overall",
        )
        self.dismiss(ImportOptions(request, share == 0, share or self.options.most_bad))

    def _refuse(self, field: str, sentence: str) -> None:
        self.query_one("#option-says", Static).update(Content(safe_line(sentence, 200)))
        self.query_one(f"#{field}").focus()


def share_of(text: str) -> float | None:
    """`10%` and `0.1` as 0.1; None for what is no share."""
    number, percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        share = float(number.replace(",", ".")) / (100 if percent else 1)
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None


def _known(encoding: str) -> bool:
    try:
        codecs.lookup(encoding)
    except LookupError:
        return False
    return True
