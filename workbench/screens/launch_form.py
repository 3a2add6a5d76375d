"""A form generated from the fields of a job's configuration: one line a field, its fault beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.events import DescendantFocus
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from engine.errors import UsageError
from engine.protocol.catalog import FieldInfo, build, check_field, fields, idle_fields
from engine.protocol.configs import JobConfig
from workbench.widgets.choice import Choice
from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeInput

LABEL_CELLS = 24


class FieldRow(Vertical):
    """One field: name, control, and below it the sentence that says what is wrong."""

    DEFAULT_CSS = """
    FieldRow {
        height: auto;
        .field-line { height: 1; }
        .field-label { width: 24; color: $foreground-muted; text-align: right; padding: 0 1 0 0; }
        .field-control { width: 26; }
        .field-note {
            width: 1fr; height: 1; padding: 0 0 0 2; color: $foreground-muted;
            text-wrap: nowrap; text-overflow: ellipsis;
        }
        .field-fault { height: auto; color: $text-error; padding: 0 0 0 24; display: none; }
        &.-faulty .field-fault { display: block; }
        &.-faulty .field-label { color: $text-error; }
        &:focus-within .field-label { color: $primary; text-style: bold; }
        Input { background: $surface; &:focus { background: $panel; } }
    }
    """

    def __init__(self, field: FieldInfo, value: Any, offers: Sequence[str]) -> None:
        super().__init__()
        self.field, self.offers = field, offers
        self._start = field.format(field.default if value is None else value)

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field-line"):
            label = self.field.name.replace("_", " ") + (" *" if self.field.required else "")
            yield Static(label, classes="field-label", markup=False)
            yield self._control()
            yield Static(Content(safe_line(self.field.description)), classes="field-note", markup=False)
        yield Static(classes="field-fault", markup=False)

    def _control(self) -> Input | Choice:
        start = self._start
        choices = ("yes", "no") if self.field.type == "bool" else self.field.choices
        if choices:
            return Choice(choices, start, title=self.field.name.replace("_", " "), classes="field-control")
        return SafeInput(
            value=start,
            placeholder="needed" if self.field.required else "",
            compact=True,
            suggester=SuggestFromList([safe_line(name) for name in self.offers]) if self.offers else None,
            classes="field-control",
        )

    @property
    def value(self) -> str:
        """What stands in the control, as typed."""
        control = self.query_one(".field-control")
        assert isinstance(control, Input | Choice)
        return control.value

    def put(self, value: str) -> None:
        """Fill a text field."""
        control = self.query_one(".field-control")
        if isinstance(control, Input):
            control.value = value

    def show_fault(self, fault: str | None) -> None:
        """The sentence below the field; None when nothing is wrong."""
        self.set_class(fault is not None, "-faulty")
        self.query_one(".field-fault", Static).update(Content(safe_line(fault or "", 300)))


class ConfigForm(VerticalScroll, can_focus=False):
    """All fields of one configuration type."""

    DEFAULT_CSS = "ConfigForm { height: 1fr; scrollbar-size-vertical: 1; }"

    class Edited(Message):
        """A value is another one now."""

    class FieldEntered(Message):
        """The cursor is in another field now."""

        def __init__(self, field: FieldInfo, offers: Sequence[str]) -> None:
            super().__init__()
            self.field, self.offers = field, offers

    def __init__(
        self,
        config_type: type[JobConfig],
        values: Mapping[str, Any],
        offers: Mapping[str, Sequence[str]],
        *,
        id: str | None = None,
    ) -> None:
        """`values` by field replace defaults; `offers` by field are names of the store."""
        super().__init__(id=id)
        self.config_type = config_type
        self._fields = fields(config_type)
        self._values, self._offers = values, offers

    def compose(self) -> ComposeResult:
        for field in self._fields:
            yield FieldRow(field, self._values.get(field.name), self._offers.get(field.name, ()))

    def on_mount(self) -> None:
        self.hide_idle()

    def rows(self) -> list[FieldRow]:
        """The fields that mean something beside the others' values."""
        return [row for row in self.query(FieldRow) if row.display]

    def hide_idle(self) -> None:
        """Show the fields that mean something beside what the others say now."""
        rows = list(self.query(FieldRow))
        try:
            idle = idle_fields(self.config_type, {row.field.name: row.value for row in rows})
        except NoMatches:  # the form is being put together, or taken down
            return
        for row in rows:
            row.display = row.field.name not in idle

    def fault(self, row: FieldRow) -> str | None:
        """What is wrong with one field, apart from all others."""
        value = row.value
        if row.field.required and not value.strip():
            return f"{row.field.name} is needed: {row.field.description}"
        try:
            check_field(self.config_type, row.field.name, value)
        except UsageError as error:
            return str(error)
        return None

    def read(self) -> JobConfig | None:
        """The configuration, or None with every fault shown and the cursor in the first faulty field."""
        rows = self.rows()
        faults = [(row, self.fault(row)) for row in rows]
        for row, fault in faults:
            row.show_fault(fault)
        first = next((row for row, fault in faults if fault), None)
        if first is not None:
            first.query_one(".field-control").focus()
            self.call_after_refresh(first.scroll_visible, animate=False)  # its sentence too
            return None
        return build(self.config_type, {row.field.name: row.value for row in rows})

    def draft(self) -> JobConfig | None:
        """The configuration as far as it is typed, “x” where a needed text is missing; None with a fault.

        None too while the form is still being put together, or taken down.
        """
        rows = self.rows()
        try:
            values = {row.field.name: row.value or ("x" if row.field.required else "") for row in rows}
            return build(self.config_type, values)
        except (UsageError, NoMatches):
            return None

    @on(Input.Changed)
    @on(Choice.Changed)
    def recheck(self, event: Input.Changed | Choice.Changed) -> None:
        """A typed value is checked at once; an empty needed one only when the job is started."""
        event.stop()
        row = next((row for row in event.control.ancestors if isinstance(row, FieldRow)), None)
        if row is not None:
            row.show_fault(self.fault(row) if row.value.strip() else None)
        self.hide_idle()
        self.post_message(self.Edited())

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        row = next((row for row in event.widget.ancestors if isinstance(row, FieldRow)), None)
        if row is not None:
            self.post_message(self.FieldEntered(row.field, row.offers))

    @property
    def focused_row(self) -> FieldRow | None:
        """The row that has the cursor."""
        return next((row for row in self.query(FieldRow) if row.has_focus_within), None)
