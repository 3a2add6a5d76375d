"""The labelling project that is followed: how far everybody is, how well, and its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from workbench.keyboard import DIALOG
from workbench.screens.base import WorkbenchScreen, attempt, told
from workbench.screens.project_lines import applied_sentence, overview_content
from workbench.screens.rank.dialogs import ZoomScreen
from workbench.services.projects.ways_text import as_text
from workbench.widgets.choice import ChooseScreen
from workbench.widgets.typed import SafeInput, SafeTextArea

if TYPE_CHECKING:
    from workbench.services.projects.applying import Applied
    from workbench.services.projects.projects import Projects
    from workbench.services.workspace import Workspace
    from workbench.shell import Shell

NO_PROJECT = """No project is followed: people judge what the label queue of the store gives.

[b]c[/b]   choose a project of the store
[b]a[/b]   apply a project's file; [b]workbench project init[/b] writes one to fill in
[b]e[/b]   write a project here"""
LEAVE = "no project: the label queue of the store"


class ProjectScreen(WorkbenchScreen):
    """Queues and progress of the project that the rank screen follows."""

    TITLE_TEXT = "Project"
    LOOP = "Who labels what, how far everybody is, and how well they agree with what is known."
    CSS_PATH = "project.tcss"
    AUTO_FOCUS = "#project"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "back", tooltip="Back to where the project was opened"),
        Binding("c", "choose", "choose", tooltip="Follow another project, or none"),
        Binding("a", "apply", "apply file", tooltip="Apply a project's file: make its queues"),
        Binding("e", "edit", "edit", tooltip="Change the project's text here"),
        Binding("question_mark", "guidelines", "guidelines", tooltip="The guidelines of the project"),
        Binding("w", "ways", "ways", tooltip="Compare the two ways of judging of a crossed project"),
        Binding("r", "reload", "read again", tooltip="Read the figures again"),
    ]

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(id="project", classes="pane") as pane:
            pane.border_title = "Project"
            yield Static(id="project-text")

    def on_mount(self) -> None:
        self.show()

    @work(exclusive=True, group="project")
    @told
    async def show(self) -> None:
        """Read what there is and show it."""

        def look(w: Workspace) -> Content:
            active = w.judging.projects.current()
            if active is None:
                return Content.from_markup(NO_PROJECT)
            return overview_content(w.judging.projects.overview(active.name), active.project)

        content = await self.ask(look)
        self.query_one("#project-text", Static).update(content)

    def action_back(self) -> None:
        self.leave()

    def action_reload(self) -> None:
        """Reads how far the queues are by now."""
        self.show()

    @work(group=DIALOG)
    @told
    async def action_choose(self) -> None:
        """Follow another project, or none."""
        rows = await self.ask(lambda w: w.judging.projects.listed())
        active = await self.ask(lambda w: w.judging.projects.current())
        names = [row.name for row in rows]
        current = LEAVE if active is None else active.name
        chosen = await self.app.push_screen_wait(ChooseScreen("Follow", [*names, LEAVE], current))
        if chosen is not None:
            await self.ask(lambda w: w.judging.projects.use(None if chosen == LEAVE else chosen))
            self.show()

    @work(group=DIALOG)
    @told
    async def action_apply(self) -> None:
        """Asks for a project's file and follows it."""
        if await self.app.push_screen_wait(ApplyScreen()):
            self.show()

    @work(group=DIALOG)
    @told
    async def action_edit(self) -> None:
        """The text of the project that is followed, or a template."""

        def text(w: Workspace) -> str:
            active = w.judging.projects.current()
            if active is not None:
                return w.judging.projects.text(active.name)
            return w.judging.projects.template(w.settings.annotator)

        if await self.app.push_screen_wait(EditScreen(await self.ask(text))):
            self.show()

    @work(group=DIALOG)
    @told
    async def action_guidelines(self) -> None:
        """The guidelines as annotators see them."""
        text = await self.ask(lambda w: w.judging.reading.guidelines())
        self.app.push_screen(ZoomScreen("Guidelines", text))

    @work(group=DIALOG)
    @told
    async def action_ways(self) -> None:
        """Rankings against ratings, or whichever two ways the project crosses."""

        room = self.app.size.width - 8

        def compared(w: Workspace) -> str | None:
            active = w.judging.projects.current()
            return None if active is None else as_text(w.judging.projects.ways(active.name), room)

        if (text := await self.ask(compared)) is not None:
            self.app.push_screen(ZoomScreen("Ways of judging", text, markdown=False))


class FollowScreen(ModalScreen[bool]):
    """A dialog that has a project followed; it says in `#project-says` why one cannot be, and stays open."""

    async def follow(self, asked: Callable[[Projects], Applied]) -> None:
        """Have the project followed, in a thread, and close; or say why it cannot be."""
        done = await attempt(self, "#project-says", lambda w: asked(w.judging.projects))
        if done is None:
            return
        cast("Shell", self.app).tell(applied_sentence(done), severity="information")
        if self.is_current:
            self.dismiss(True)


class ApplyScreen(FollowScreen):
    """Asks for a project's file and applies it; stays open on an error."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(False)", "Do not apply")]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Apply a project's file"
            box.border_subtitle = "⏎ apply · esc back"
            yield SafeInput(placeholder="project.toml")
            yield Static("", id="project-says", classes="quiet", markup=False)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.apply(Path(event.value.strip()).expanduser())

    @work(exclusive=True)
    @told
    async def apply(self, path: Path) -> None:
        """Follows the file, or says here why it cannot be followed."""
        await self.follow(lambda projects: projects.follow_file(path))


class EditScreen(FollowScreen):
    """The project's TOML text; ctrl+s applies it, and stays open where it cannot be applied."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(False)", "Leave it as it is", priority=True),
        Binding("ctrl+s", "apply", "Apply", priority=True),
    ]
    AUTO_FOCUS = "TextArea"

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="project-edit") as box:
            box.border_title = "Project"
            box.border_subtitle = "ctrl+s apply · esc leaves it as it is"
            yield SafeTextArea(self.text, show_line_numbers=False)
            yield Static("", id="project-says", classes="quiet", markup=False)

    @work(exclusive=True)
    @told
    async def action_apply(self) -> None:
        """Follows the text as it stands, or says here why it cannot be followed."""
        text = self.query_one(SafeTextArea).text
        await self.follow(lambda projects: projects.follow_text(text))
