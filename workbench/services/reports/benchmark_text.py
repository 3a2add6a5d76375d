"""A reward model's figures on benchmarks in words and numbers, at any width from 44 cells."""

from __future__ import annotations

from collections.abc import Sequence

from engine.wording import counted
from storage.measures.benchmark_records import Benchmark, BenchmarkFigure
from workbench.services.reports.lines import ROOMY, Line, fit, interval, number, one_line, prose

SHOWN_REASONS = 6
BETTER, WORSE, NOT_BETTER = "better", "worse", "not shown to be better"
COLUMNS = (("longer", "longer"), ("longer_loses", "it loses"), ("length_balanced", "balanced"))
"""Figures beside accuracy, with the heads of their columns."""


def benchmark_title(benchmark: Benchmark) -> str:
    """Name, and what of it: split, criterion, number format."""
    parts = [benchmark.name, *([benchmark.split] if benchmark.split else [])]
    parts += [benchmark.criterion] if benchmark.criterion != "overall" else []
    return one_line(" · ".join([*parts, benchmark.backend]))


def benchmark_lines(benchmark: Benchmark, width: int) -> list[Line]:
    """One benchmark: the whole, the mean of its parts, sections and subsets, and what to know beside them."""
    rows = [("all comparisons", "all", "")]
    sections, subsets = benchmark.parts("section"), benchmark.parts("subset")
    if benchmark.figure("accuracy", "mean"):
        of = "sections" if sections else "subsets"
        rows.append((f"mean of {len(sections or subsets)} {of}", "mean", ""))
    rows += [(name, "section", name) for name in sections]
    rows += [(f"  {name}" if sections else name, "subset", name) for name in subsets]
    lines = [_head("accuracy, ties ½", width)]
    lines += [_row(benchmark, label, level, part, width) for label, level, part in rows]
    chance = benchmark.figure("chance")
    if chance is not None and abs(chance.value - 0.5) > 1e-9:
        pairs = benchmark.figure("pairs")
        lines.append(
            (
                (f"by chance {number(chance.value)}", "baseline"),
                (f", pairs alone {number(pairs.value)}" if pairs else "", "model"),
            )
        )
    for text, role in [against_longer(benchmark), *_warnings(benchmark)]:
        lines += prose(text, width, role)
    return lines


def benchmarks(measured: Sequence[Benchmark], width: int) -> list[Line]:
    """One line a benchmark, as a reward model's report shows them; the whole table is a command away."""
    lines = [_head("accuracy, ties ½", width)]
    for each in measured:
        level = "mean" if each.figure("accuracy", "mean") else "all"
        lines.append(_row(each, " ".join(filter(None, (each.name, each.split))), level, "", width))
    against = {word: [b.name for b in measured if _beside_longer(b) == word] for word in (WORSE, NOT_BETTER)}
    for word, names in against.items():
        if names:
            warning = f"{word.capitalize()} than always taking the longer response: {', '.join(names)}."
            lines += prose(warning, width, "warning")
    for each in measured:
        if each.learned:
            lines += prose(f"{each.name}: {_learned(each)}", width, "warning")
    return lines


def against_longer(benchmark: Benchmark) -> tuple[str, str]:
    """A plain sentence on the model beside always taking the longer response, and its role."""
    over = benchmark.figure("over_longer")
    if over is None:
        return "", "muted"
    shown = number(over.value, signed=True)
    between = interval(over.low, over.high, signed=True)
    word = _beside_longer(benchmark)
    if word == BETTER:
        return f"Better than always taking the longer response: {shown} ({between}).", "muted"
    return f"It is {word} than always taking the longer response: {shown} ({between}).", "warning"


def _beside_longer(benchmark: Benchmark) -> str:
    """What its interval says of the model beside the longer response; '' where there is none."""
    over = benchmark.figure("over_longer")
    if over is None:
        return ""
    if over.low is not None and over.low > 0:
        return BETTER
    return WORSE if over.high is not None and over.high < 0 else NOT_BETTER


def _warnings(benchmark: Benchmark) -> list[tuple[str, str]]:
    lines = []
    if benchmark.learned:
        lines.append((_learned(benchmark), "warning"))
    if benchmark.cut:
        lines.append(
            (
                "A response is longer than the model reads, and is scored by a part: "
                f"{counted(benchmark.cut, 'comparison')}.",
                "warning",
            )
        )
    for reason, count in list(benchmark.left_out.items())[:SHOWN_REASONS]:
        lines.append((f"left out {count:,}: {reason}", "muted"))
    rest = list(benchmark.left_out.values())[SHOWN_REASONS:]
    if rest:
        lines.append((f"left out {sum(rest):,} more for {counted(len(rest), 'other reason')}", "muted"))
    return lines


def _learned(benchmark: Benchmark) -> str:
    return (
        f"{benchmark.learned:,} of {benchmark.comparisons:,} comparisons are on prompts that the reward "
        "model learned from: the figure flatters it."
    )


def _head(label: str, width: int) -> Line:
    room = _label_room(width)
    heads = "".join(f"{head:>9}" for _, head in _columns(width))
    return ((fit(label, room) + "     n  right" + (" " * 15 if width >= ROOMY else "") + heads, "muted"),)


def _row(benchmark: Benchmark, label: str, level: str, part: str, width: int) -> Line:
    accuracy = benchmark.figure("accuracy", level, part)
    assert accuracy is not None
    between = f"  {interval(accuracy.low, accuracy.high):<13}" if width >= ROOMY else ""
    beside = [benchmark.figure(name, level, part) for name, _ in _columns(width)]
    return (
        (fit(label, _label_room(width)), "strong" if level in ("all", "mean", "section") else ""),
        (f"{accuracy.n:6,}", "muted"),
        (f"{number(accuracy.value):>7}", "model"),
        (between, "muted"),
        *(
            (f"{_shown(each):>9}", "baseline" if name == "longer" else "")
            for each, (name, _) in zip(beside, _columns(width), strict=True)
        ),
    )


def _shown(figure: BenchmarkFigure | None) -> str:
    return number(figure.value if figure else None)


def _columns(width: int) -> tuple[tuple[str, str], ...]:
    return COLUMNS if width >= ROOMY + 10 else COLUMNS[:2] if width >= ROOMY else COLUMNS[:1]


def _label_room(width: int) -> int:
    return width - 13 - (15 if width >= ROOMY else 0) - 9 * len(_columns(width))
