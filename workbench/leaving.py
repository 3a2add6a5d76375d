"""What goes away while somebody still asks something of it."""

from __future__ import annotations

from textual.app import ScreenStackError
from textual.css.query import QueryError
from textual.dom import DOMNode
from textual.widget import MountError


def came_too_late(error: BaseException, node: object) -> bool:
    """Whether all that broke is that something was looked for on a screen, or in a widget, that goes away.

    The application that ends has no screen on top any more.
    """
    if isinstance(error, ScreenStackError):
        return isinstance(node, DOMNode) and not node.app.is_running
    return isinstance(error, QueryError | MountError) and isinstance(node, DOMNode) and is_leaving(node)


def is_leaving(node: DOMNode) -> bool:
    """Whether the node is being removed, or is gone: its widgets may be missing."""
    return not node.is_attached or not all(above.display for above in node.ancestors_with_self)
