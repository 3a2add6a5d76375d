"""Which version of the workbench this is; both ends of a connection have the same."""

from __future__ import annotations

import importlib.metadata
from functools import cache


@cache
def version() -> str:
    """As the package index would have it; “unknown” where it was not installed."""
    try:
        return importlib.metadata.version("preference-workbench")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
