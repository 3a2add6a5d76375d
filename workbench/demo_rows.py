"""The demo's closing table as rows of text, the same in the terminal's dialog and on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.services.demo import DemoTable

COLUMNS = ("", "before PPO", "after PPO")
Row = tuple[str, str, str]


def summary_rows(table: DemoTable) -> list[Row]:
    """(what, before, after) of every figure but the times."""
    rows: list[Row] = [
        (
            "mean score ± standard error",
            _around(table.score_before, table.score_before_error),
            _around(table.score_after, table.score_after_error),
        ),
        ("  after − before, paired by prompt", "", _around(table.difference, table.difference_error)),
        ("KL to the start, nats a response", "0", f"{_number(table.kl)} (bound {table.kl_bound:g})"),
        ("length, tokens", _number(table.tokens_before, 1), _number(table.tokens_after, 1)),
        ("win rate against the start [95%]", "", _win_rate(table)),
        ("reward model: held-out accuracy [95%]", _between(table.accuracy, table.accuracy_range), ""),
        ("  the longer response, same pairs", _number(table.longer), ""),
        ("reward model: held-out log-loss [95%]", _between(table.log_loss, table.log_loss_range), ""),
    ]
    for precision, figures in sorted(table.onnx.items()):
        most = _figure(figures, "max_difference")
        rows.append((f"ONNX {precision}: furthest from torch", most, ""))
        rows.append((f"ONNX {precision}: Kendall τ with torch", _figure(figures, "kendall_tau"), ""))
    return rows


def _around(value: float, error: float) -> str:
    return f"{value:.3f} ± {error:.3f}"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _between(value: float | None, bounds: tuple[float, float] | None) -> str:
    """A figure of one split with its interval by resampling prompts."""
    return _number(value) + ("" if bounds is None else f" [{bounds[0]:.3f}, {bounds[1]:.3f}]")


def _win_rate(table: DemoTable) -> str:
    if table.win_rate is None or table.win_low is None or table.win_high is None:
        return "–"
    return f"{table.win_rate:.3f} [{table.win_low:.3f}, {table.win_high:.3f}]"


def _figure(figures: Mapping[str, Any], name: str) -> str:
    value = figures.get(name)
    return f"{value:.2g}" if isinstance(value, float) else "–" if value is None else str(value)
