"""Whose judgements a training learns from, said before it does: models that judge never come in unseen."""

from __future__ import annotations

from collections import Counter

from engine.protocol.configs import JobConfig
from engine.protocol.configs.needs import RankingTable
from engine.wording import counted
from storage.measures import judges
from storage.store import Store
from workbench.services.reports.calibration import Calibrating

KINDS = {"human": "of people", "import": "imported", "rule": "of rules", "ai": "of models"}


def label_words(store: Store, config: JobConfig) -> list[str]:
    """What the job learns from, what is left out, and how far each model that is used agrees with people.

    Sentences; none for a job that reads no judgements.
    """
    sentences: list[str] = []
    for table in config.inputs().tables.values():
        if isinstance(table, RankingTable) and not table.of_run:
            sentences += _of_table(store, table)
    return sentences


def _of_table(store: Store, table: RankingTable) -> list[str]:
    used: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    models = []
    for row in judges.labels(store, table.criteria, table.annotator, table.source):
        if table.kinds is None or row.kind in table.kinds or table.annotator:
            used[row.kind] += row.judgements
            models += [row.judge] if row.judge else []
        else:
            left_out[f"of “{row.judge}”" if row.judge else KINDS.get(row.kind, row.kind)] += row.judgements
    words = []
    if used:
        parts = ", ".join(f"{number:,} {KINDS.get(kind, kind)}" for kind, number in used.items())
        words.append(f"Learns from {counted(sum(used.values()), 'judgement')}: {parts}.")
    if left_out:
        parts = ", ".join(f"{number:,} {name}" for name, number in left_out.items())
        words.append(f"Left out: {parts}; annotator_kinds says whose are learned.")
    calibrating = Calibrating(store)
    for judge in models:
        words += [each.sentence for each in calibrating.of(judge) if _counts(each.criterion, table)]
    return words


def _counts(criterion: str, table: RankingTable) -> bool:
    return table.criteria is None or criterion in table.criteria
