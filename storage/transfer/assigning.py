"""An annotator's package: a store of its own with what one person is to judge in a project.

It holds that person's queue, the prompts and responses in it and the guidelines; not what others said, nor
scores, known answers and which policy wrote what, nor which entries come a second time.  `merge` brings the
judgements back.
"""

from __future__ import annotations

from pathlib import Path

from storage.ids import annotator_id
from storage.projects import project_id
from storage.remembered import PACKAGE
from storage.sql import block
from storage.store import Store
from storage.transfer.packing import write_store


def write_package(
    store: Store, target: Path, *, project: str, annotator: str, source: str, guidelines: str
) -> int:
    """Write the package of one annotator to a new file; the number of entries in the queue.

    `source` is the project's TOML text as the annotator may see it.  Raises as `packing.write_store`.
    """
    who = {"project_id": project_id(project), "annotator_id": annotator_id(annotator)}
    details = {"project": project, "annotator": annotator, "source": source, "guidelines": guidelines}
    write_store(store, target, block("assigning", "package"), parameters={**who, **details, "key": PACKAGE})
    row = store.row(block("assigning", "entries"), who)
    return int(row[0]) if row else 0
