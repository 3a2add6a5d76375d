"""What a layout says of its rows."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
Columns = dict[str, str]
"""Kind by column: text, number, truth, messages, texts, truths, or json for what is nested otherwise."""
