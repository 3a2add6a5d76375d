"""Import files: a path, completed as one types or picked from the tree, then what its columns are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from rich.style import Style
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import DirectoryTree, Input, Static
from textual.widgets._directory_tree import DirEntry
from textual.widgets.tree import TreeNode

from workbench.keyboard import DIALOG
from workbench.screens.base import told
from workbench.screens.importing.plan import ImportPlanScreen, in_keys
from workbench.services.import_draft import ImportOptions
from workbench.services.importing import is_readable
from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeInput

if TYPE_CHECKING:
    from workbench.shell import Shell

HINT = (
    "A file, a folder of shards (space in the tree), a pattern such as data/*.jsonl, or a hub data set. "
    "What its columns are is shown before anything comes in."
)


class PathSuggester(Suggester):
    """The first folder or readable file that continues what is typed."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The first file or folder that goes on as typed; hidden are names that cannot be shown."""
        folder, start = os.path.split(value)
        try:
            entries = sorted(os.scandir(Path(folder).expanduser() if folder else "."), key=lambda e: e.name)
        except OSError:
            return None
        for entry in entries:
            readable = entry.is_dir() or is_readable(entry.name)
            if start and readable and entry.name.startswith(start) and entry.name.isprintable():
                return os.path.join(folder, entry.name) + ("/" if entry.is_dir() else "")
        return None


class FileTree(DirectoryTree):
    """Folders and files that can be imported; space takes a folder as a whole, backspace goes up."""

    ICON_NODE, ICON_NODE_EXPANDED, ICON_FILE = "▸ ", "▾ ", "  "
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "take", "Take the file, or the folder with all its shards"),
        Binding("backspace", "up", "The folder above"),
    ]

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        """Folders, and files that can be imported."""
        return [path for path in paths if is_readable(path.name) or self._is_folder(path)]

    @staticmethod
    def _is_folder(path: Path) -> bool:
        return not path.name.startswith(".") and DirectoryTree._safe_is_dir(path)

    def render_label(self, node: TreeNode[DirEntry], base_style: Style, style: Style) -> Text:
        """As the tree draws it, of a name without controls."""
        label = super().render_label(node, base_style, style)
        clean = Text(safe_line(label.plain, 200) or " ", style=label.style)
        clean.spans = [span for span in label.spans if span.end <= len(clean.plain)]
        return clean

    def action_take(self) -> None:
        """Takes the file, or the whole folder, under the cursor."""
        node = self.cursor_node
        if node is not None and node.data is not None:
            self.post_message(self.FileSelected(node, node.data.path))

    def action_up(self) -> None:
        """Shows the folder above."""
        self.path = Path(self.path).expanduser().resolve().parent


class ImportScreen(ModalScreen[None]):
    """Asks for a file and reads its beginning in a thread; stays open on an error."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Do not import"),
        Binding("ctrl+o", "options", "Encoding, and names for what the file does not name"),
    ]
    CSS_PATH = "files.tcss"
    AUTO_FOCUS = "#path"

    def __init__(self) -> None:
        super().__init__()
        self.reading = False
        self.options = ImportOptions()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Import a file"
            box.border_subtitle = "→ complete · tab tree · ⏎ read · ctrl+o options · esc back"
            yield SafeInput(placeholder="path", suggester=PathSuggester(), id="path")
            yield FileTree(Path.cwd(), id="files")
            yield Static(HINT, id="import-says", classes="quiet", markup=False)

    @on(Input.Changed, "#path")
    def typed(self, event: Input.Changed) -> None:
        """The tree follows a typed folder as soon as its slash is there."""
        if not self.reading:
            self.say(HINT)
        folder = Path(event.value).expanduser()
        if event.value.endswith("/") and folder.is_dir():
            self.query_one(FileTree).path = folder

    @on(Input.Submitted, "#path")
    def submitted(self, event: Input.Submitted) -> None:
        """Reads the typed file."""
        if not event.value.strip():
            self.say("Type the path of a file first, or pick one with tab and ⏎.", error=True)
            return
        self.read(event.value.strip())

    @on(DirectoryTree.FileSelected)
    def picked(self, event: DirectoryTree.FileSelected) -> None:
        """Reads the file from the tree."""
        path = str(event.path)
        with self.prevent(Input.Changed):
            self.query_one("#path", Input).value = path
        if path.isprintable():
            self.read(path)
        else:
            self.say("Its name has characters that cannot be shown: rename it first.", error=True)

    def action_leave(self) -> None:
        """Leaves; not while a file is read."""
        if not self.reading:
            self.dismiss()

    @work(exclusive=True, group=DIALOG)
    async def action_options(self) -> None:
        """What a person says of a file beside its columns; kept for the next file of this window."""
        from workbench.screens.importing.options import ImportOptionsScreen

        answer = await self.app.push_screen_wait(ImportOptionsScreen(self.options))
        if answer is not None:
            self.options = answer

    @work(exclusive=True, group="read")
    @told
    async def read(self, path: str) -> None:
        """Look at the first rows, then show what they would become."""
        if self.reading:
            return
        app = cast("Shell", self.app)
        self.reading = True
        self.say("reading the first rows …")
        named: Path | str = Path(path).expanduser() if path.startswith("~") else path
        try:
            workspace = await app.opened()
            plan = await asyncio.to_thread(workspace.importing.propose, named, self.options.request)
        except Exception as error:
            self.say(in_keys(app.explain(error), options="ctrl+o"), error=True)
            return
        finally:
            self.reading = False
        if self.is_current:
            app.push_screen(ImportPlanScreen(plan, self.options), self.came_back)

    def came_back(self, imported: bool | None) -> None:
        """From the sheet: this window has nothing left to ask once the file is in."""
        if imported:
            self.dismiss()

    def say(self, sentence: str, *, error: bool = False) -> None:
        """One sentence below the path; those that ask for a remedy stand out."""
        line = self.query_one("#import-says", Static)
        line.set_class(error, "-error")
        line.update(Content(safe_line(sentence, 400)))
