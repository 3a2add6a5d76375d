"""Import a file: a path, completed as one types, and a sentence when it cannot be read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

from workbench.screens.base import told
from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeInput

if TYPE_CHECKING:
    from workbench.shell import Shell

HINT = (
    "JSON Lines, CSV or Parquet: prompts, ranked responses, or pairs (prompt, chosen, rejected). "
    "The same file twice adds nothing."
)
READABLE = (".jsonl", ".json", ".csv", ".parquet", ".ndjson")


class PathSuggester(Suggester):
    """The first folder or readable file that continues what is typed."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        folder, start = os.path.split(value)
        try:
            entries = sorted(os.scandir(Path(folder).expanduser() if folder else "."), key=lambda e: e.name)
        except OSError:
            return None
        for entry in entries:
            readable = entry.is_dir() or entry.name.endswith(READABLE)
            if start and readable and entry.name.startswith(start) and entry.name.isprintable():
                return os.path.join(folder, entry.name) + ("/" if entry.is_dir() else "")
        return None


class ImportScreen(ModalScreen[None]):
    """Asks for a file and imports it in a thread; stays open on an error."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Do not import")]
    CSS_PATH = "prompts_import.tcss"
    importing = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Import a file"
            box.border_subtitle = "→ complete · ⏎ import · esc back"
            yield SafeInput(placeholder="path", suggester=PathSuggester(), id="path")
            yield Static(HINT, id="import-says", classes="quiet", markup=False)

    @on(Input.Changed)
    def typed(self) -> None:
        if not self.importing:
            self.say(HINT)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        if self.importing:
            return
        if not event.value.strip():
            self.say("Type the path of a file first.", error=True)
            return
        self.run_import(Path(event.value.strip()).expanduser())

    def action_leave(self) -> None:
        if not self.importing:
            self.dismiss()

    @work(exclusive=True)
    @told
    async def run_import(self, path: Path) -> None:
        """Import; what was imported is told after this window has gone."""
        app = cast("Shell", self.app)
        self.importing = True
        self.say("reading …")
        workspace = await app.opened()
        try:
            report = await asyncio.to_thread(workspace.library.import_file, path, on_progress=self.progress)
        except Exception as error:
            self.say(app.explain(error), error=True)
            return
        finally:
            self.importing = False
        app.refresh_status()
        app.tell(str(report), severity="information")
        if self.is_current:
            self.dismiss()

    def progress(self, rows: int, share: float) -> None:
        """Called in the importing thread with the rows read and the share of the file."""
        self.app.call_from_thread(self.say, f"reading … {rows:,} rows, {share:.0%}")

    def say(self, sentence: str, *, error: bool = False) -> None:
        line = self.query_one("#import-says", Static)
        line.set_class(error, "-error")
        line.update(Content(safe_line(sentence, 300)))
