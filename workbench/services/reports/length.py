"""The report on length: whether longer is taken for better, and what is left when it is not."""

from __future__ import annotations

from engine.wording import counted
from workbench.services.reports.lines import Line, bar_line, fit, interval, number, prose, scale_line
from workbench.services.reports.reports import RewardReport

LEANS = 0.2
"""More accurate by this much where the longer response is better: the model leans on length."""


def against_length(report: RewardReport) -> tuple[str, str] | None:
    """A plain sentence where the model is not better than taking the longer response; None where it is."""
    over = report.unseen_figures.get("over_longer") or report.figures.get("over_longer")
    if over is None or over.low > 0:
        return None
    word = "worse" if over.high < 0 else "not shown to be better"
    return (
        f"It is {word} than always taking the longer response: accuracy {number(over.value, signed=True)} "
        f"({interval(over.low, over.high, signed=True)}).",
        "warning",
    )


def length(report: RewardReport, width: int) -> list[Line]:
    """Whether longer is taken for better, and what is left when it is not."""
    figures = report.figures
    lines: list[Line] = [scale_line("accuracy where …", width, "0", "½", "1")]
    for figure, label, role in (
        ("longer_wins", "longer is better", "model"),
        ("longer_loses", "longer is worse", "model"),
        ("length_balanced", "mean of these two", "model"),
        ("length_matched", "within 10%", "model"),
        ("longer", "longer one alone", "baseline"),
    ):
        if measured := figures.get(figure):
            count = "" if figure in ("longer", "length_balanced") else f" ({measured.n:,})"
            lines.append(bar_line(label + count, measured, role, width, mark=0.5))
    correlation = report.length.correlation
    lines += [
        (),
        (
            ("correlation with length in a prompt  ", "muted"),
            (number(correlation, 2, signed=True), "strong"),
        ),
    ]
    lines += [(), *_regression(report, width)]
    word = length_word(report)
    return lines + ([(), *prose(word[0], width, word[1])] if word else [])


def _regression(report: RewardReport, width: int) -> list[Line]:
    regression = report.length_fit
    if regression is None:
        return prose(
            "No logistic regression: too few pairs, or score and length tell them apart without a mistake.",
            width,
        )
    lines: list[Line] = [(("log-odds a standard deviation, by regression", "muted"),)]
    for label, value, low, high in (
        ("score, length fixed", regression.score, regression.score_low, regression.score_high),
        ("length, score fixed", regression.length, regression.length_low, regression.length_high),
    ):
        lines.append(
            (
                (fit(label, 21), ""),
                (f"{number(value, 2, signed=True):>6}", "strong"),
                (f"  {interval(low, high, signed=True)}", "muted"),
            )
        )
    lines.append(
        ((fit("length alone", 21), ""), (f"{number(regression.length_alone, 2, signed=True):>6}", "baseline"))
    )
    lines.append(
        (
            ("log-loss: length ", "muted"),
            (number(regression.log_loss_length_alone), "baseline"),
            (", with score ", "muted"),
            (number(regression.log_loss), "model"),
        )
    )
    return lines


def length_word(report: RewardReport) -> tuple[str, str] | None:
    """A sentence on length and its role; None without pairs of both kinds."""
    wins, loses = report.figures.get("longer_wins"), report.figures.get("longer_loses")
    if wins is None or loses is None:
        return None
    if wins.value > 0.5 > loses.value:
        few = "" if loses.high < 0.5 else f" ({counted(loses.n, 'pair')}: not certain)"
        return (
            f"It follows length: where the shorter is better, it is wrong more often than right{few}.",
            "warning",
        )
    if wins.value - loses.value > LEANS:
        return (
            "It leans on length: it is much less often right where the shorter response is better.",
            "warning",
        )
    return (
        "Length alone does not explain it: it is about as often right where the shorter is better.",
        "muted",
    )
