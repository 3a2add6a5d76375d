"""The table of presets in docs/formats.md, written from the presets themselves."""

from __future__ import annotations

from storage.interchange.mapping.roles import NAMED, ROLES
from storage.interchange.presets.catalogue import PRESETS


def presets_table() -> str:
    """Markdown: one row a preset."""
    lines = [
        "| preset | what it is | licence | documented at | compared with |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| `{p.name}` | {p.about} | {p.licence or ''} | <{p.source}> | {p.checked} |" for p in PRESETS]
    return "\n".join(lines)


def roles_table() -> str:
    """Markdown: one row a role."""
    lines = ["| role | what it is |", "| --- | --- |"]
    lines += [f"| `{role}` | {about} |" for role, about in ROLES.items()]
    lines += [f"| `{about.partition(':')[0]}` | {about.partition(': ')[2]} |" for about in NAMED.values()]
    return "\n".join(lines)
