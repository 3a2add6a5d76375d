"""A reward model's report in words, numbers and bars, in sections, at any width from 44 cells."""

from __future__ import annotations

from collections.abc import Callable

from engine.wording import counted
from storage.measures.report_records import Figure, WrongPair
from workbench.services.reports.benchmark_text import benchmarks
from workbench.services.reports.calibration_text import calibration_lines
from workbench.services.reports.length import against_length, length, length_word
from workbench.services.reports.lines import (
    ROOMY,
    Line,
    Section,
    bar,
    bar_line,
    box,
    columns,
    distance,
    fit,
    number,
    percent,
    prose,
    scale_line,
    signed_line,
)
from workbench.services.reports.reports import CONSTANT_ACCURACY, CONSTANT_LOG_LOSS, RewardReport
from workbench.services.reports.words import EXPLAINED

NARROWEST = 44
SURE = 0.05
"""Mean predicted probability further than this from the share that was right is told."""


def heading(report: RewardReport) -> str:
    """What was measured on what, in a sentence."""
    basis = report.basis
    where = "held-out prompt" if basis.splits_known else "prompt"
    parts = [f"{counted(basis.pairs, 'pair')} on {counted(basis.prompts, where)}"]
    parts += [f"{counted(basis.tied, 'tie')} left out"] if basis.tied else []
    parts += [f"{basis.unscored:,} without scores"] if basis.unscored else []
    return ", ".join(parts)


def notes(report: RewardReport) -> list[str]:
    """What the reader has to know before trusting a figure."""
    basis, sentences = report.basis, []
    if report.registered:
        sentences.append("It was trained elsewhere: which prompts it has learned from is not known here.")
    elif not basis.splits_known:
        sentences.append(
            "The run has not told which prompts it held out: figures are over all judged prompts, those it "
            "learned from too, and flatter it."
        )
    if basis.unscored:
        sentences.append(f"Left out, as a response lacks a score: {counted(basis.unscored, 'judged pair')}.")
    if basis.cut:
        sentences.append(
            f"Longer than the model reads: {basis.cut:,} of {counted(basis.responses, 'response')}, "
            "scored by a part: the end of the prompt, the beginning of the response."
        )
    if basis.scored_as is not None and basis.scored_as != report.criterion:
        sentences.append(f"Measured on “{report.criterion}” with its score for “{basis.scored_as}”.")
    if basis.annotator:
        sentences.append(f"Only judgements by {basis.annotator} count, as in training.")
    if basis.backends and "," in basis.backends:
        sentences.append(f"Scores come from several number formats: {basis.backends}.")
    return sentences


def section(report: RewardReport, key: str, width: int) -> Section:
    """The section of that key, drawn for `width` cells."""
    title, query, draw = SECTIONS[key]
    lines = draw(report, width) if key in ALWAYS or not report.missing else prose(report.missing, width)
    return Section(key, title, query, tuple(lines), EXPLAINED[key])


def keys_of(report: RewardReport | None) -> tuple[str, ...]:
    """Keys of the sections that a report has, in order: benchmarks only where there are some."""
    benched = report is not None and bool(report.benchmarks)
    return tuple(key for key in SECTIONS if key != BENCHMARKS or benched)


def sections(report: RewardReport, width: int) -> tuple[Section, ...]:
    """Every section that it has, drawn for `width` cells, at least NARROWEST."""
    return tuple(section(report, key, max(NARROWEST, width)) for key in keys_of(report))


def overview(report: RewardReport, width: int) -> list[Line]:
    """The model, the baselines on the same pairs, and people."""
    figures, name = report.figures, report.reward_model
    lines: list[Line] = [scale_line("accuracy, ties ½", width, "0", "½", "1")]
    constant = Figure("constant", CONSTANT_ACCURACY, CONSTANT_ACCURACY, CONSTANT_ACCURACY, 0, 0)
    rows = (
        (name, figures.get("accuracy"), "model"),
        (
            f"  mean of {counted(report.unseen.splits, 'split')}",
            report.unseen_figures.get("accuracy"),
            "model",
        ),
        ("  pairwise", _pairwise(report, "heldout_accuracy"), "model"),
        ("longer response", figures.get("longer"), "baseline"),
        ("policy that wins", figures.get("policy"), "baseline"),
        ("constant", constant, "baseline"),
        ("person v. the others", figures.get("person"), "people"),
        ("two people", figures.get("agreement"), "people"),
    )
    lines += [bar_line(label, measured, role, width, mark=0.5) for label, measured, role in rows if measured]
    lines += [(), *_log_losses(report, width), ()]
    for figure, label in (
        ("over_longer", "above longer response"),
        ("over_policy", "above policy that wins"),
    ):
        if measured := figures.get(figure):
            lines.append(signed_line(label, measured))
    if tau := figures.get("tau"):
        lines.append(signed_line("Kendall τ a prompt", tau))
    for word in (against_length(report), length_word(report)):
        lines += [(), *prose(word[0], width, word[1])] if word else []
    return lines


def unseen(report: RewardReport, width: int) -> list[Line]:
    """Means over many splits by prompt: what to expect on prompts that it has not seen."""
    figures, basis = report.unseen_figures, report.unseen
    if not basis.splits:
        return []
    lines: list[Line] = [scale_line(f"mean of {counted(basis.splits, 'split')}", width, "0", "½", "1")]
    for figure, label, role in (
        ("accuracy", report.reward_model, "model"),
        ("longer", "longer response", "baseline"),
        ("longer_wins", "longer is better", "model"),
        ("longer_loses", "longer is worse", "model"),
        ("log_loss", "log-loss", "model"),
    ):
        mark = CONSTANT_LOG_LOSS if figure == "log_loss" else 0.5
        if measured := figures.get(figure):
            lines.append(bar_line(label, measured, role, width, mark=mark))
        if measured := _pairwise(report, f"unseen_{figure}"):
            lines.append(bar_line("  pairwise", measured, role, width, mark=mark))
    lines += [()]
    if over := figures.get("over_longer"):
        lines.append(signed_line("above longer response", over))
    lines += [
        (("accuracy varies over splits by  ", "muted"), (number(basis.deviation), "strong")),
        (("mean distance of calibration  ", "muted"), (number(basis.calibration_error), "strong")),
        *_circles(report),
        (),
    ]
    return lines


def _pairwise(report: RewardReport, name: str) -> Figure | None:
    """A figure of the pairwise preference model, which has no interval."""
    value = report.pairwise.get(name)
    return None if value is None else Figure(name, value, value, value, 0, 0)


def _circles(report: RewardReport) -> list[Line]:
    """How often preferences run in a circle, which no score can."""
    share, judged = (report.pairwise.get(name) for name in ("intransitive", "intransitive_judged"))
    if share is None:
        return []
    line = [("triples in a circle, pairwise  ", "muted"), (percent(share), "strong")]
    if judged is not None:
        line += [(", people ", "muted"), (percent(judged), "people")]
    return [tuple(line)]


def _log_losses(report: RewardReport, width: int) -> list[Line]:
    figures = report.figures
    constant = Figure("constant", CONSTANT_LOG_LOSS, CONSTANT_LOG_LOSS, CONSTANT_LOG_LOSS, 0, 0)
    rows = (
        (report.reward_model, figures.get("log_loss"), "model"),
        ("  pairwise", _pairwise(report, "heldout_log_loss"), "model"),
        ("longer response", figures.get("longer_log_loss"), "baseline"),
        ("policy that wins", figures.get("policy_log_loss"), "baseline"),
        ("constant", constant, "baseline"),
    )
    top = max(1.0, *(measured.high for _, measured, _ in rows if measured))
    lines = [scale_line("log-loss, less is better", width, "0", "", number(top, 1))]
    return lines + [
        bar_line(label, measured, role, width, mark=CONSTANT_LOG_LOSS, top=top)
        for label, measured, role in rows
        if measured
    ]


def calibration(report: RewardReport, width: int) -> list[Line]:
    """Predicted probability against the share that was right."""
    cells = width - 30 if width >= NARROWEST else 0  # narrower, the numbers stand beside a plot
    scale = "0" + "½".center(cells - 2) + "1" if cells else ""
    lines: list[Line] = [((fit("predicted", 13) + "   right  pairs  " + scale, "muted"),)]
    for row in report.calibration:
        drawn = distance(row.observed, row.predicted, cells) if cells else ""
        label = f"{row.low:.0%} – {row.high:.0%}"
        lines.append(
            (
                (fit(label, 13), ""),
                (f"{row.observed:8.2f}", "model"),
                (f"{row.pairs:7,}  ", "muted"),
                (drawn, "model"),
            )
        )
    error = report.calibration_error
    if error is None:
        return lines
    pairs = sum(row.pairs for row in report.calibration)
    surplus = sum(row.pairs * (row.predicted - row.observed) for row in report.calibration) / pairs
    word = (
        "too sure"
        if surplus > SURE
        else "not sure enough"
        if surplus < -SURE
        else "neither too sure nor too unsure"
    )
    lines += [
        (),
        (("mean distance  ", "muted"), (number(error), "strong")),
        *prose(f"On average {word}.", width),
    ]
    return (
        lines
        if not cells
        else lines + prose("● the share that was right, │ what the model predicted.", width)
    )


def people(report: RewardReport, width: int) -> list[Line]:
    """Against each annotator, each criterion, and prompt by prompt."""
    room = width - 30
    lines: list[Line] = [((fit("annotator", room) + " accuracy log-loss  pairs", "muted"),)]
    for row in report.annotators:
        lines.append(
            (
                (fit(row.annotator, room), ""),
                (f"{row.accuracy:9.3f}", "model"),
                (f"{row.log_loss:9.3f}", ""),
                (f"{row.pairs:7,}", "muted"),
            )
        )
        if row.with_others is not None:
            others = f"  agrees with the others {row.with_others:.3f}"
            lines.append(((fit(others, width), "people"),))
    lines += [(), ((fit("criterion", room) + " accuracy log-loss  pairs", "muted"),)]
    for each in report.criteria:
        mark = "strong" if each.criterion == report.criterion else ""
        values = f"{number(each.accuracy):>9}{number(each.log_loss):>9}"
        lines.append(((fit(each.criterion, room), mark), (values, ""), (f"{each.pairs:7,}", "muted")))
    lines += [(), *_taus(report, width)]
    for judge in report.judges:
        lines += [(), *calibration_lines(judge, width)]
    return lines


def _taus(report: RewardReport, width: int) -> list[Line]:
    spread = report.taus
    if spread.mean is None:
        return prose("Kendall τ: no prompt has both an order by people and an order by score.", width)
    wide = max(1, min(4, (width - 18) // 10))
    low, middle, high = spread.quantiles[1:4]
    return [
        (
            ("Kendall τ a prompt, mean ", "muted"),
            (number(spread.mean, 2), "strong"),
            (f", median {middle:.2f}", ""),
            (f", half in {low:.2f} … {high:.2f}" if width >= ROOMY else "", "muted"),
        ),
        (
            ("-1 ", "muted"),
            (columns(spread.counts, wide), "model"),
            (f" 1   {counted(spread.prompts, 'prompt')}", "muted"),
        ),
    ]


def learning(report: RewardReport, width: int) -> list[Line]:
    """What many splits say of prompts never seen; held-out figures by the number of pairs learned from."""
    before = unseen(report, width)
    if not report.curve:
        return before + prose("The run has recorded no learning curve.", width)
    lines: list[Line] = [*before, (("  pairs  accuracy  log-loss", "muted"),)]
    for point in report.curve:
        wide = width >= NARROWEST and point.accuracy is not None
        drawn = bar(point.accuracy or 0.0, cells=width - 29, mark=0.5) if wide else ""
        lines.append(
            (
                (f"{point.pairs:7,}", ""),
                (f"{number(point.accuracy):>10}", "model"),
                (f"{number(point.log_loss):>10}  ", ""),
                (drawn, "model"),
            )
        )
    if len(report.curve) > 1 and None not in (gain := [p.accuracy for p in report.curve[-2:]]):
        step = (gain[1] or 0.0) - (gain[0] or 0.0)
        lines += [(), *prose(f"The last step changed accuracy by {step:+.3f}.", width)]
    return lines


def policies(report: RewardReport, width: int) -> list[Line]:
    """Scores of every response by policy, on one scale."""
    if not report.policies:
        return prose("No response has been scored.", width)
    scale = (min(p.quantiles[0] for p in report.policies), max(p.quantiles[-1] for p in report.policies))
    room = 16 if width < ROOMY else 22
    cells = width - room - 14
    ends = f"{number(scale[0], 1)}{number(scale[1], 1):>{cells - len(number(scale[0], 1))}}"
    lines: list[Line] = [((fit("policy", room) + f"{'mean':>7}{'n':>5}  " + ends, "muted"),)]
    for row in report.policies:
        lines.append(
            (
                (fit(row.policy, room), ""),
                (f"{row.mean:+7.2f}", "strong"),
                (f"{row.responses:5,}  ", "muted"),
                (box(row.quantiles[1:-1], scale, cells), "model"),
            )
        )
        lines.append(((" " * (room + 14), ""), (_stretched(row.counts, cells), "muted")))
    return lines + prose("Whiskers 5 to 95%, box the middle half, ┃ the median; below, how many.", width)


def _stretched(counts: tuple[int, ...], cells: int) -> str:
    drawn = columns(counts)
    return "".join(drawn[min(len(drawn) - 1, at * len(drawn) // cells)] for at in range(cells))


def wrong_line(pair: WrongPair, width: int) -> Line:
    """One of the pairs most confidently wrong, on one line."""
    votes = f"{pair.votes_better}:{pair.votes_worse}" + (f"+{pair.votes_tie}=" if pair.votes_tie else "")
    fixed = (
        (f"{percent(1 - pair.probability):>6} ", "warning"),
        (f" {votes:<7}", "people"),
        (f"{pair.score_worse:+6.2f} > {pair.score_better:+.2f}".ljust(17), ""),
    )
    room = max(10, width - 32)
    return (*fixed, (fit(pair.prompt, room), "muted"))


BENCHMARKS = "benchmarks"
ALWAYS = ("curve", "policies", BENCHMARKS)
"""Sections that need no judged pair."""
Draw = Callable[[RewardReport, int], list[Line]]
SECTIONS: dict[str, tuple[str, str, Draw]] = {
    "overview": ("Overview", "figures", overview),
    "calibration": ("Calibration", "calibration", calibration),
    "length": ("Length", "length_rows", length),
    "people": ("People", "annotators", people),
    "curve": ("Learning", "learning_curve", learning),
    "policies": ("Policies", "policies", policies),
    BENCHMARKS: ("Benchmarks", "benchmarks", lambda report, width: benchmarks(report.benchmarks, width)),
}
"""Title, block of reports.sql and drawing of each section."""
