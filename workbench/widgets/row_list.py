"""A list of one-line rows as long as the store: only the pages that are looked at are fetched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

PAGE = 200
PAGES_KEPT = 30

Draw = Callable[[Any, int], Content]
Fetch = Callable[[int, int], Awaitable[Sequence[Any]]]


class RowList(ScrollView, can_focus=True):
    """Rows drawn by `draw(row, width)`, fetched by `fetch(offset, limit)` a page at a time.

    `fetch` tells its own errors; a page that it cannot give stays blank.  `page_rows` are the rows of one.
    """

    DEFAULT_CSS = """
    RowList {
        overflow-x: hidden;
        & > .rows--cursor { background: $panel; }
        &:focus > .rows--cursor { background: $primary-muted; color: $text; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "jump(0)", "First", show=False),
        Binding("end", "jump(-1)", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
    ]
    cursor: reactive[int] = reactive(0)

    @dataclass
    class Moved(Message):
        """The cursor stands on another row, or the row under it has arrived."""

        rows: RowList
        row: Any

        def can_replace(self, message: Message) -> bool:
            """Of several moves of one list only the last is handled."""
            return isinstance(message, RowList.Moved) and message.rows is self.rows

        @property
        def control(self) -> RowList:
            return self.rows

    @dataclass
    class Chosen(Message):
        """Enter on a row."""

        rows: RowList
        row: Any

        @property
        def control(self) -> RowList:
            return self.rows

    def __init__(self, draw: Draw, fetch: Fetch, *, page_rows: int = PAGE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.page_rows = page_rows
        self._draw, self._fetch = draw, fetch
        self._pages: dict[int, Sequence[Any]] = {}
        self._asked: set[int] = set()
        self._generation = 0
        self.count = 0

    # -- content ------------------------------

    def show(self, count: int, first_page: Sequence[Any], *, keep_cursor: bool = False) -> None:
        """Replace everything: `count` rows, of which `first_page` are the first at most `page_rows`."""
        self._generation += 1
        self._pages = {0: first_page} if first_page else {}
        self._asked = set(self._pages)
        self.set_count(count)
        cursor = min(self.cursor, max(0, count - 1)) if keep_cursor else 0
        if cursor != self.cursor:
            self.cursor = cursor
        else:
            self._tell_moved()
        self.refresh()

    def show_all(self, rows: Sequence[Any], *, keep_cursor: bool = False) -> None:
        """Replace everything by rows that are all in memory."""
        pages = {
            number: rows[start : start + self.page_rows]
            for number, start in enumerate(range(0, len(rows), self.page_rows))
        }
        self.show(len(rows), pages.get(0, ()), keep_cursor=keep_cursor)
        self._pages, self._asked = pages, set(pages)

    def set_count(self, count: int) -> None:
        """The list turned out to be `count` rows long."""
        self.count = count
        self.virtual_size = Size(0, count)
        self.refresh()

    def row(self, index: int) -> Any | None:
        """Row `index`, or None when it has not been fetched; asks for its page then."""
        number, offset = divmod(index, self.page_rows)
        page = self._pages.get(number)
        if page is None:
            if number not in self._asked and 0 <= index < self.count:
                self._asked.add(number)
                self.run_worker(self._fetch_page(number, self._generation))
            return None
        return page[offset] if offset < len(page) else None

    def known(self, index: int) -> Any | None:
        """Row `index` if it has been fetched; its page is not asked for."""
        number, offset = divmod(index, self.page_rows)
        page = self._pages.get(number, ())
        return page[offset] if offset < len(page) else None

    @property
    def current(self) -> Any | None:
        """The row under the cursor, None while there is none."""
        return self.row(self.cursor) if self.count else None

    async def _fetch_page(self, number: int, generation: int) -> None:
        page = await self._fetch(number * self.page_rows, self.page_rows)
        if generation != self._generation:
            return
        if len(self._pages) >= PAGES_KEPT:
            here = self.cursor // self.page_rows
            furthest = max(self._pages, key=lambda offset: abs(offset - here))
            self._asked.discard(furthest)
            del self._pages[furthest]
        self._pages[number] = page
        self.refresh()
        if self.cursor // self.page_rows == number:
            self._tell_moved()

    # -- drawing ------------------------------

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        index = self.scroll_offset.y + y
        here = index == self.cursor and index < self.count
        style = self.get_visual_style("rows--cursor") if here else self.visual_style
        row = self.row(index) if index < self.count else None
        if row is None:
            return Strip.blank(width, style.rich_style)
        content = self._draw(row, width).truncate(width, pad=True)
        return Visual.to_strips(self, content, width, 1, style)[0]

    # -- moving ------------------------------

    def watch_cursor(self, old: int, new: int) -> None:
        self.refresh()
        if self.is_attached:
            self.scroll_to_region(Region(0, new, 1, 1), animate=False, force=True, immediate=True)
            self._tell_moved()

    def _tell_moved(self) -> None:
        row = self.current
        if row is not None or not self.count:
            self.post_message(self.Moved(self, row))

    def _to(self, index: int) -> None:
        self.cursor = max(0, min(self.count - 1, index)) if self.count else 0

    def action_move(self, by: int) -> None:
        self._to(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Moves by what fits into the list, one row kept in sight."""
        self._to(self.cursor + by * max(1, self.scrollable_content_region.height - 1))

    def action_jump(self, index: int) -> None:
        """Moves to a row; a negative number is the last."""
        self._to(index if index >= 0 else self.count - 1)

    def action_choose(self) -> None:
        """Tells the screen that the row under the cursor is chosen."""
        if (row := self.current) is not None:
            self.post_message(self.Chosen(self, row))

    def on_click(self, event: Any) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and self.scroll_offset.y + offset.y < self.count:
            self._to(self.scroll_offset.y + offset.y)
