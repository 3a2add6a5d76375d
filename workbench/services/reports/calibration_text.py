"""A judge's calibration in words and numbers."""

from __future__ import annotations

from engine.wording import counted
from workbench.services.reports.calibration import JudgeCalibration, within
from workbench.services.reports.lines import Line, one_line, prose

LABELS = (
    ("agreement", "agrees with most people"),
    ("decided", "where neither says tie"),
    ("kappa", "above chance (κ)"),
    ("person", "a person, with most others"),
    ("judge_ties", "ties of the judge"),
    ("people_ties", "ties of people"),
    ("judge_longer", "judge prefers the longer"),
    ("people_longer", "people prefer the longer"),
    ("orders_disagree", "its two orders disagree"),
    ("first", "prefers what stands first"),
)
ROOM = 28


def calibration_lines(calibration: JudgeCalibration, width: int) -> list[Line]:
    """Figures with intervals, the confusion, and what its probabilities are worth."""
    lines: list[Line] = prose(one_line(calibration.sentence), width, "")
    for name, label in LABELS:
        if figure := calibration.figures.get(name):
            value = (
                f"{figure.value:.2f}".replace("-0.00", "0.00") if name == "kappa" else f"{figure.value:.0%}"
            )
            interval = within(figure, ".2f" if name == "kappa" else ".0%")
            interval += f"  n {figure.n:,}"
            lines.append(((f"  {label:<{ROOM}}", ""), (f"{value:>7}", "strong"), (interval, "muted")))
    if calibration.confusion:
        lines += [(), *_confusion(calibration)]
    if calibration.contested:
        were = counted(calibration.contested, "pair")
        lines += prose(f"Left out, as people have no majority: {were}.", width)
    error = calibration.calibration_error
    if error is not None:
        pairs = counted(sum(part.pairs for part in calibration.reliability), "pair")
        lines += [(), *prose(f"Its probabilities are {error:.2f} off on average, over {pairs}.", width)]
        lines += [
            ((f"  says {part.predicted:.2f}  is right {part.observed:.2f}  n {part.pairs:,}", "muted"),)
            for part in calibration.reliability
        ]
    return lines


def _confusion(calibration: JudgeCalibration) -> list[Line]:
    lines: list[Line] = [((f"  {'':<{ROOM}}{'same':>8}{'tie':>8}{'other':>8}", "muted"),)]
    for row in calibration.confusion:
        label = "people prefer one; judge:" if row.decided else "people tie; judge:"
        same = f"{row.same:,}" if row.decided else "–"
        lines.append(((f"  {label:<{ROOM}}{same:>8}{row.tie:>8,}{row.other:>8,}", ""),))
    return lines
