"""A form generated from the fields of a job's configuration: one line a field, its fault below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.events import DescendantFocus
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from engine.errors import UsageError
from engine.protocol.building import build, check_field, idle_fields
from engine.protocol.catalog import JOBS
from engine.protocol.configs import JobConfig
from engine.protocol.fields import FieldInfo, fields
from workbench.screens.base import FocusChangesParts
from workbench.services.runs.form_groups import essentials, groups
from workbench.widgets.choice import Choice
from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeInput

LABEL_CELLS = 24


class FieldRow(Vertical, FocusChangesParts):
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

    def __init__(self, field: FieldInfo, start: str, offers: Sequence[str]) -> None:
        super().__init__()
        self.field, self.offers = field, offers
        self._start = start

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


class FormSection(Vertical):
    """Settings of one subject, folded until they are asked for; only then are they made."""

    DEFAULT_CSS = """
    FormSection { height: auto; }
    """

    def __init__(self, title: str, fields: Sequence[FieldInfo]) -> None:
        super().__init__()
        self.title, self.fields = title, list(fields)
        self.opened = False

    def compose(self) -> ComposeResult:
        yield SectionHead()

    @property
    def form(self) -> ConfigForm:
        """The form that this is a section of."""
        return next(node for node in self.ancestors if isinstance(node, ConfigForm))

    async def open(self) -> None:
        """Show the settings."""
        if not self.opened:
            self.opened = True
            if not self.query(FieldRow):
                await self.mount_all(self.form.row_of(field) for field in self.fields)
            self.form.hide_idle()

    def close(self) -> None:
        """Fold the settings; what they say stays."""
        self.opened = False
        self.form.hide_idle()

    async def toggle(self) -> None:
        """Shows the fields or hides them; what was typed stays."""
        if self.opened:
            self.close()
        else:
            await self.open()

    def describe(self, shown: int, changed: int) -> None:
        """How many settings there are, and how many are not as they come."""
        self.display = shown > 0
        self.query_one(SectionHead).show(self.title, self.opened, shown, changed)


class SectionHead(Static, can_focus=True):
    """The line above a section: ⏎, space or a click unfolds it."""

    DEFAULT_CSS = """
    SectionHead { height: 1; color: $foreground-muted; padding: 0 1; }
    SectionHead:focus { background: $panel; color: $primary; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space,right,left", "fold", "Unfold, fold", show=False)
    ]

    def show(self, title: str, opened: bool, shown: int, changed: int) -> None:
        """The title, how many settings there are, and how many of them differ from the default."""
        count = f"{shown} setting{'' if shown == 1 else 's'}" + (f", {changed} changed" if changed else "")
        self.update(
            Content.assemble(f"{'▾' if opened else '▸'} {title}", (f"  {count}", "$foreground-muted"))
        )

    async def action_fold(self) -> None:
        section = self.parent
        assert isinstance(section, FormSection)
        await section.toggle()

    async def on_click(self) -> None:
        await self.action_fold()


class ConfigForm(VerticalScroll, can_focus=False):
    """The settings of one kind of job: what a person sets first, the rest folded by subject."""

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
        kind: str,
        values: Mapping[str, Any],
        offers: Mapping[str, Sequence[str]],
        *,
        id: str | None = None,
    ) -> None:
        """`values` by field replace defaults; `offers` by field are names of the store."""
        super().__init__(id=id)
        self.config_type = JOBS[kind].config
        self.fields = {field.name: field for field in fields(self.config_type)}
        self.texts = {
            name: field.format(field.default if values.get(name) is None else values[name])
            for name, field in self.fields.items()
        }
        """What each field says, as typed; of folded ones too."""
        self._offers = offers
        needed = [name for name, field in self.fields.items() if field.required]
        self._first = essentials(kind, list(self.fields), needed)

    def row_of(self, field: FieldInfo) -> FieldRow:
        """A new row for a field, with its text as it is typed so far and what it offers."""
        return FieldRow(field, self.texts[field.name], self._offers.get(field.name, ()))

    def compose(self) -> ComposeResult:
        for name in self._first:
            yield self.row_of(self.fields[name])
        rest = groups([name for name in self.fields if name not in self._first])
        for title, names in rest.items():
            yield FormSection(title, [self.fields[name] for name in names])

    def on_mount(self) -> None:
        self.hide_idle()

    @property
    def idle(self) -> set[str]:
        """Fields that mean nothing beside what the others say now."""
        return set(idle_fields(self.config_type, self.texts))

    def rows(self) -> list[FieldRow]:
        """The fields that are in sight."""
        return [row for row in self.query(FieldRow) if row.display]

    def hide_idle(self) -> None:
        """Show the fields that mean something and are not folded, and what the folded ones are."""
        idle = self.idle
        for row in self.query(FieldRow):
            section = row.parent
            folded = isinstance(section, FormSection) and not section.opened
            row.display = row.field.name not in idle and not folded
        with suppress(NoMatches):  # the form is being put together, or taken down
            for section in self.query(FormSection):
                shown = [field for field in section.fields if field.name not in idle]
                changed = [f for f in shown if self.texts[f.name] != f.format(f.default)]
                section.describe(len(shown), len(changed))

    def fault(self, name: str) -> str | None:
        """What is wrong with one field, apart from all others."""
        field, value = self.fields[name], self.texts[name]
        if field.required and not value.strip():
            return f"{name} is needed: {field.description}"
        try:
            check_field(self.config_type, name, value)
        except UsageError as error:
            return str(error)
        return None

    async def read(self) -> JobConfig | None:
        """The configuration, or None with every fault shown and the cursor in the first faulty field."""
        self._take()
        idle = self.idle
        asked = {name: text for name, text in self.texts.items() if name not in idle}
        faults = {name: fault for name in asked if (fault := self.fault(name)) is not None}
        for section in self.query(FormSection):
            if any(field.name in faults for field in section.fields):
                await section.open()
        for row in self.query(FieldRow):
            row.show_fault(faults.get(row.field.name))
        if not faults:
            return build(self.config_type, asked)
        await self.go_to(next(row.field.name for row in self.query(FieldRow) if row.field.name in faults))
        return None

    @property
    def meant(self) -> list[FieldInfo]:
        """The settings that mean something beside the others, folded or not."""
        idle = self.idle
        return [field for name, field in self.fields.items() if name not in idle]

    async def go_to(self, name: str) -> None:
        """Unfold a setting and put the cursor there."""
        for section in self.query(FormSection):
            if any(field.name == name for field in section.fields):
                await section.open()
        row = next(row for row in self.query(FieldRow) if row.field.name == name)
        row.query_one(".field-control").focus()
        self.call_after_refresh(row.scroll_visible, animate=False)

    def draft(self) -> JobConfig | None:
        """The configuration as far as it is typed, “x” where a needed text is missing; None with a fault."""
        idle = self.idle
        values = {
            name: text or ("x" if self.fields[name].required else "")
            for name, text in self.texts.items()
            if name not in idle
        }
        try:
            return build(self.config_type, values)
        except UsageError:
            return None

    def _take(self) -> None:
        """Take over what stands in the controls; a change may still be on its way here."""
        for row in self.query(FieldRow):
            with suppress(NoMatches):
                self.texts[row.field.name] = row.value

    @on(Input.Changed)
    @on(Choice.Changed)
    def recheck(self, event: Input.Changed | Choice.Changed) -> None:
        """A typed value is checked at once; an empty needed one only when the job is started."""
        event.stop()
        row = next((row for row in event.control.ancestors if isinstance(row, FieldRow)), None)
        if row is None or self.texts[row.field.name] == event.value:
            return
        self.texts[row.field.name] = event.value
        row.show_fault(self.fault(row.field.name) if event.value.strip() else None)
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
