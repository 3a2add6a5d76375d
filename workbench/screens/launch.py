"""F8: choose a kind of job, fill its configuration, start it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from engine.protocol.catalog import JOBS
from engine.protocol.fields import FieldInfo, fields
from workbench.keyboard import DIALOG
from workbench.screens.base import WorkbenchScreen, told
from workbench.screens.launch_form import ConfigForm
from workbench.screens.launch_search import SettingSearch
from workbench.services.runs.form_presets import presets, settings_of
from workbench.widgets.choice import ChooseScreen
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from storage.records import RunRow
    from workbench.services.workspace import Workspace

PACKAGED = "smollm2"
REWARD_MODEL_FIELDS = ("reward_model", "gold", "constraint", "rewards", "constraints")
ESTIMATE_SECONDS = 0.3
"""Rest after a key before the estimate is worked out again."""


def store_offers(workspace: Workspace) -> dict[str, list[str]]:
    """Names of the store by the field that takes them."""
    policies = [row.name for row in workspace.library.policies() if row.model]
    reward_models = [row.name for row in workspace.library.reward_models()]
    return {
        "policy": list(dict.fromkeys([PACKAGED, *policies])),
        **dict.fromkeys(REWARD_MODEL_FIELDS, reward_models),
    }


def first_values(kind: str, offers: Mapping[str, Sequence[str]], taken: Sequence[str]) -> dict[str, Any]:
    """Values that a form starts with beyond the defaults: the newest reward model, a free name."""
    values: dict[str, Any] = {}
    names = {field.name for field in fields(JOBS[kind].config)}
    for field in ("policy", "reward_model"):
        if field in names and offers.get(field):
            values[field] = offers[field][0]
    if any(field.name == "name" and field.required for field in fields(JOBS[kind].config)):
        number = 1
        while f"{kind}-{number}" in taken:
            number += 1
        values["name"] = f"{kind}-{number}"
    return values


def last_values(kind: str, runs: Sequence[RunRow], offers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The settings of the newest run of a kind, without models that there are no more."""
    newest = max((run for run in runs if run.kind == kind), key=lambda run: run.created_at, default=None)
    if newest is None:
        return {}
    values = settings_of(newest)
    elsewhere = bool(values.get("endpoint"))  # the store does not know what a server has
    return {
        name: v
        for name, v in values.items()
        if name not in ("policy", "reward_model") or v in offers[name] or elsewhere
    }


class LaunchScreen(WorkbenchScreen):
    """Kinds of jobs on the left, the form of the chosen one on the right."""

    TITLE_TEXT = "Start a job"
    LOOP = "Choose a job, fill in its settings, start it; it runs on without the workbench."
    CSS_PATH = "launch.tcss"
    AUTO_FOCUS = "#kinds"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "submit", "Start"),
        Binding("ctrl+f", "find", "Find", priority=True),  # before the key of a text's editor
        Binding("ctrl+r", "fill", "Fill"),
        Binding("ctrl+o", "offer", "Names"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, kind: str | None = None, values: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._kind = kind if kind is not None and kind in JOBS else next(iter(JOBS))
        self._start_in_form = self.keys_wait = kind in JOBS
        """What is typed is meant for the form."""
        self._given = dict(values or {})
        self._filled: Mapping[str, Any] | None = None
        """What the person has chosen to fill the form with, in the place of the last run's settings."""
        self._offers: dict[str, list[str]] = {}
        self._taken: list[str] = []
        self._runs: Sequence[RunRow] = []
        self._changing = asyncio.Lock()
        self._form_stands = asyncio.Event()
        """Set while a whole form stands; what came earlier waits for it."""

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="launch"):
            with Vertical(id="kind-pane", classes="pane") as pane:
                pane.border_title = Content("Job")
                yield OptionList(
                    *(Option(Content(job.title), id=kind) for kind, job in JOBS.items()),
                    id="kinds",
                    markup=False,
                )
            with Vertical(id="form-pane", classes="pane"):
                yield Vertical(id="form-place")
                yield Static(id="estimate", markup=False)
                yield Static(id="field-help", markup=False)
                yield Button("Start the job", id="start", compact=True, variant="primary")

    def on_mount(self) -> None:
        self.query_one(OptionList).highlighted = list(JOBS).index(self._kind)
        self.load_offers()

    @work(exclusive=True, group="offers")
    @told
    async def load_offers(self) -> None:
        """Read the names of the store, then show the form."""
        try:
            offers = await self.ask(store_offers)
            runs = await self.ask(lambda workspace: workspace.jobs.list())
            self._taken = [*(run.name for run in runs), *offers["policy"], *offers["reward_model"]]
            self._offers, self._runs = offers, runs  # all at once: a kind chosen meanwhile waits for them
            await self.show_form()
            if self._start_in_form:
                self._enter_form()
        finally:
            self.keys_wait = False

    async def show_form(self) -> None:
        """Replace the form by that of the chosen kind; one at a time, until no other is chosen meanwhile."""
        async with self._changing:
            if self._form_stands.is_set():
                return
            kind = ""
            while kind != self._kind:
                kind = self._kind
                await self._put_form(kind)
            self._form_stands.set()
        self.estimate()

    async def _put_form(self, kind: str) -> None:
        job = JOBS[kind]
        last = last_values(kind, self._runs, self._offers) if self._filled is None else self._filled
        values = {**first_values(kind, self._offers, self._taken), **last, **self._given}
        place = self.query_one("#form-place", Vertical)
        self.query_one("#form-pane").border_title = Content(job.title)
        self._help(None, ())
        async with self.batch():
            await place.remove_children()
            await place.mount(ConfigForm(kind, values, self._offers, id="form"))

    @on(ConfigForm.Edited)
    @work(exclusive=True, group="estimate")
    @told
    async def estimate(self) -> None:
        """Say under the form what the job will need, a moment after the last key."""
        await asyncio.sleep(ESTIMATE_SECONDS)
        forms = self.query(ConfigForm)
        config = forms.first().draft() if forms else None
        sentence = await self.ask(lambda w: w.estimating.sentence(config)) if config is not None else ""
        self.query_one("#estimate", Static).update(Content(safe_line(sentence)))

    @on(OptionList.OptionHighlighted, "#kinds")
    def kind_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """The form follows the kind of job under the cursor."""
        place = event.option_list.highlighted  # the event may tell of one that was passed over
        kind = None if place is None else event.option_list.get_option_at_index(place).id
        if kind and kind != self._kind:
            self._kind, self._given, self._filled = kind, {}, None
            self._form_stands.clear()
            if self._offers:  # else the form of the chosen kind comes with them
                self._change_form()

    @work(group="form")
    @told
    async def _change_form(self) -> None:
        await self.show_form()

    @on(OptionList.OptionSelected, "#kinds")
    def kind_selected(self) -> None:
        """Goes into the form as soon as it stands; keys wait until then."""
        self.keys_wait = True
        self._enter_when_it_stands()

    @work(exclusive=True, group="enter")
    @told
    async def _enter_when_it_stands(self) -> None:
        try:
            await self._form_stands.wait()
            self._enter_form()
        finally:
            self.keys_wait = False

    def _enter_form(self) -> None:
        """Put the cursor into the form; a narrow terminal shows either the list or the form."""
        self.add_class("-in-form")
        self.query_one(ConfigForm).query(".field-control").first().focus()

    @on(ConfigForm.FieldEntered)
    def field_entered(self, event: ConfigForm.FieldEntered) -> None:
        """Help and offers follow the field that has the focus."""
        self._help(event.field, event.offers)

    def _help(self, field: FieldInfo | None, offers: Sequence[str]) -> None:
        """What the field with the cursor takes, and what the store offers for it."""
        if field is None:
            text = Content.styled(
                "⏎ goes into the form, tab to the next field, ctrl+s starts the job.", "$foreground-muted"
            )
        else:
            names = ", ".join(safe_line(name, 40) for name in offers[:6])
            text = Content.assemble(
                safe_line(field.description),
                (f"\nTakes {field.expects}.", "$foreground-muted"),
                (f" In the store: {names} (ctrl+o)." if names else "", "$foreground-muted"),
            )
        self.query_one("#field-help", Static).update(text, layout=False)  # of a fixed height: no field moves

    def action_back(self) -> None:
        """From the form to the list of jobs, from there away."""
        self.workers.cancel_group(self, "enter")
        kinds = self.query_one(OptionList)
        if kinds.has_focus:
            self.dismiss(None)
        else:
            self.remove_class("-in-form")
            kinds.focus()

    @work(group=DIALOG)
    @told
    async def action_offer(self) -> None:
        """Choose a name of the store for the field with the cursor."""
        await self._form_stands.wait()
        row = self.query_one(ConfigForm).focused_row
        if row is None or not row.offers:
            self.workbench.tell("The store has no names for this field.", severity="information")
            return
        chosen = await self.app.push_screen_wait(ChooseScreen(row.field.name.replace("_", " "), row.offers))
        if chosen is not None:
            row.put(chosen)

    @work(group=DIALOG)
    @told
    async def action_fill(self) -> None:
        """Fill the form with settings that belong together; its name, and what runs had, may be changed."""
        await self._form_stands.wait()
        own = await self.ask(lambda workspace: workspace.settings.presets)
        found = presets(self._kind, own.get(self._kind, {}), self._runs)
        chosen = await self.app.push_screen_wait(ChooseScreen("Fill the form with", list(found)))
        if chosen is not None:
            self._filled, self._given = found[chosen], {}
            self._form_stands.clear()
            await self.show_form()
            self._enter_form()

    @work(group=DIALOG)
    @told
    async def action_find(self) -> None:
        """Go to a setting by a word of its name or of what it means."""
        await self._form_stands.wait()
        form = self.query_one(ConfigForm)
        name = await self.app.push_screen_wait(SettingSearch(form.meant))
        if name is not None:
            self.add_class("-in-form")
            await form.go_to(name)

    @on(Button.Pressed, "#start")
    def start_pressed(self) -> None:
        self.action_submit()

    @work(exclusive=True, group="submit")
    @told
    async def action_submit(self) -> None:
        """Start the job when every field is right, and go and see it run."""
        await self._form_stands.wait()
        config = await self.query_one(ConfigForm).read()
        if config is None:
            return
        kind = self._kind
        run_id, export = await self.ask(lambda workspace: workspace.jobs.submit_with_export(kind, config))
        behind = "" if export is None else f", and its export to ONNX, {export}, behind it"
        sentence = f"{run_id} is queued{behind}."
        if self.leave(run_id):
            self.workbench.show_run(run_id)
        self.workbench.tell(sentence, severity="information")
