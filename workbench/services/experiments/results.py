"""What an experiment has come to: its arms beside each other, with intervals over seeds and prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.protocol.catalog import JOBS
from engine.wording import counted
from storage import experiments
from storage.experiments import ArmsMet, ExperimentRow, ExperimentRun, PromptFigures
from storage.store import Store
from workbench.services.experiments.run_file import OWN, PEOPLE, START, by_reward_model
from workbench.services.labels.leaderboard import Meeting
from workbench.services.statistics import MeanInterval, over_seeds_and_prompts, wilson_interval

KL, KL_BOUND = "sample/kl", "bon/kl"
OBJECTIVE, CHOSEN = "policy/score", "bon/proxy"
ACCURACY, LOG_LOSS = "heldout/accuracy", "heldout/log_loss"
Cells = dict[tuple[int, str], float]


@dataclass(frozen=True)
class ArmResult:
    """One arm over its seeds; a figure that is not there yet is None."""

    arm: str
    kind: str
    """The method; empty of an arm that learns nothing."""
    seeds: int
    done: int
    """Seeds of which every run is done."""
    failed: tuple[str, ...]
    """Runs that failed."""
    reward: MeanInterval | None
    """The judge's score of its responses."""
    gain: MeanInterval | None
    """The same less that of the arm where it started: seed by seed, prompt by prompt."""
    wins: Meeting | None
    """Against the arm where it started."""
    objective: MeanInterval | None
    """The score that it learned from, in its last step, over seeds."""
    kl: MeanInterval | None
    """To where it started, in nats a response, over seeds; of best of n what it cannot exceed."""
    tokens: MeanInterval | None
    seconds: MeanInterval | None
    """Of its training, or of choosing the best of n, over seeds."""
    accuracy: MeanInterval | None = None
    """Of a reward model on judgements that it held out, over seeds."""
    log_loss: MeanInterval | None = None

    @property
    def is_reward_model(self) -> bool:
        """Whether it trains a reward model, which answers nothing."""
        return self.kind in JOBS and JOBS[self.kind].makes == "reward_model"


@dataclass(frozen=True)
class ExperimentResult:
    """All arms of an experiment."""

    name: str
    judge: str
    arms: tuple[ArmResult, ...]
    """In the order of the file, where they start first."""
    meetings: tuple[Meeting, ...]
    """Every two that were compared, both ways round."""
    differing: Mapping[str, Mapping[str, Any]]
    """Setting → arm → value, where arms differ."""
    runs: int
    done: int
    waiting: int
    prompts: int = 0
    """Prompts that policies have answered."""
    judged: int = 0
    """Prompts on which two arms have been compared."""
    unsampled: int = 0
    """Runs whose answers are still to come."""

    @property
    def waits_for_people(self) -> bool:
        """Whether nothing is missing but people's verdicts."""
        return self.judge == PEOPLE and not self.unsampled and self.judged < self.prompts

    def meeting(self, a: str, b: str) -> Meeting | None:
        """How `a` did against `b`; None where nobody has compared them."""
        return next((met for met in self.meetings if (met.a, met.b) == (a, b)), None)

    @property
    def notes(self) -> list[str]:
        """What the figures are, and how far they can be trusted, a sentence each."""
        said = [f"{counted(self.done, 'run')} of {self.runs} done."]
        if self.judge:
            said[0] = f"Judged by {self.judge}. {said[0]}"
        if self.waiting:
            said[0] += f" {self.waiting} queued or running."
        if self.waits_for_people:
            said.append(
                f"It waits for people: they have compared answers to {self.judged} of "
                f"{counted(self.prompts, 'prompt')} (F3)."
            )
        seeds = max((arm.seeds for arm in self.arms), default=0)
        if not self.meetings and self.prompts:
            said.append(f"Nothing has been compared by {self.judge} yet.")
        elif self.arms and seeds < 2:
            said.append(
                "One seed: intervals say what other prompts would change, not what other seeds would."
            )
        else:
            said.append("Intervals of 95% count both the chance of the seed and that of the prompts.")
        said += [
            f"{arm.arm}: {counted(len(arm.failed), 'run')} failed ({arm.failed[0]})."
            for arm in self.arms
            if arm.failed
        ]
        return said


class Experiments:
    """The experiments of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def listed(self) -> list[ExperimentRow]:
        """Every experiment, the newest first."""
        return experiments.listed(self.store)

    def result(self, name: str, judge: str = "") -> ExperimentResult:
        """The arms of an experiment beside each other, by the judge of its file or another one.

        Raises NotFoundError for an unknown experiment.
        """
        row = experiments.by_name(self.store, name)
        judge = judge or row.judge
        rows = experiments.runs_of(self.store, name)
        starts = _starts(rows)
        figures = experiments.by_prompt(self.store, name, judge)
        look = experiments.met_by_model if by_reward_model(judge) else experiments.met_by_annotators
        met = look(self.store, name, judge)
        meetings = _meetings(met)
        metrics = [KL, KL_BOUND, OBJECTIVE, CHOSEN, ACCURACY, LOG_LOSS]
        last = experiments.last_metrics(self.store, name, metrics)
        order = list(dict.fromkeys(run.arm for run in rows))
        order.sort(key=lambda arm: arm not in starts.values())  # where they start stands first
        arms = tuple(_arm(arm, starts.get(arm), rows, figures, meetings, last) for arm in order)
        return ExperimentResult(
            name, judge, arms, meetings, _differing(rows, order), row.runs, row.done, row.waiting,
            prompts=len({cell.prompt_id for cell in figures}),
            judged=len({cell.prompt_id for cell in met}),
            unsampled=sum(run.role == "sample" and run.status != "done" for run in rows),
        )  # fmt: skip


def _makes(run: ExperimentRun) -> bool:
    """Whether a run makes what its arm is: it trains, or keeps the best of n."""
    return run.role == "train" or (run.role == "sample" and run.kind != "generate")


def _starts(rows: Sequence[ExperimentRun]) -> dict[str, str]:
    """The arm from which each arm that learns started, told by the policy that both name."""
    policy = {
        run.arm: str(run.settings["policy"])
        for run in rows
        if run.role == "sample" and (run.arm == START or run.arm.startswith(f"{START} "))
    }
    return {
        run.arm: arm
        for run in rows
        if _makes(run)
        for arm, start in policy.items()
        if start == run.settings.get("policy")
    }


def _arm(
    arm: str,
    start: str | None,
    rows: Sequence[ExperimentRun],
    figures: Sequence[PromptFigures],
    meetings: Sequence[Meeting],
    last: Sequence[tuple[str, int, str, float]],
) -> ArmResult:
    own = [run for run in rows if run.arm == arm]
    seeds = {run.seed for run in own}
    unfinished = {run.seed for run in own if run.status != "done"}
    score, before = _cells(figures, arm, "score"), _cells(figures, start, "score")
    gain = {key: value - before[key] for key, value in score.items() if key in before}

    def over_seeds(*names: str) -> MeanInterval | None:
        return over_seeds_and_prompts({(s, ""): v for a, s, n, v in last if a == arm and n in names})

    took = {(run.seed, ""): run.seconds for run in own if _makes(run) and run.seconds is not None}
    kind = next((run.kind for run in own if _makes(run)), "")
    scorer = kind in JOBS and JOBS[kind].makes == "reward_model"
    return ArmResult(
        arm=arm,
        kind=kind,
        seeds=len(seeds),
        done=len(seeds - unfinished),
        failed=tuple(run.run_id for run in own if run.status == "failed"),
        reward=over_seeds_and_prompts(score),
        gain=over_seeds_and_prompts(gain),
        wins=next((met for met in meetings if (met.a, met.b) == (arm, start)), None),
        objective=over_seeds(OBJECTIVE, CHOSEN),
        kl=over_seeds(KL, KL_BOUND),
        tokens=over_seeds_and_prompts(_cells(figures, arm, "tokens")),
        seconds=over_seeds_and_prompts(took),
        accuracy=over_seeds(ACCURACY) if scorer else None,
        log_loss=over_seeds(LOG_LOSS) if scorer else None,
    )


def _cells(figures: Sequence[PromptFigures], arm: str | None, what: str) -> Cells:
    """A figure of an arm by seed and prompt, where there is one."""
    return {
        (row.seed, row.prompt_id): float(value)
        for row in figures
        if row.arm == arm and (value := getattr(row, what)) is not None
    }


def _meetings(rows: Sequence[ArmsMet]) -> tuple[Meeting, ...]:
    """Win rates with intervals that are never narrower than Wilson's over the prompts."""
    shares: dict[tuple[str, str], Cells] = defaultdict(dict)
    pairs: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        shares[row.a, row.b][row.seed, row.prompt_id] = row.share
        pairs[row.a, row.b] += row.pairs
    met = []
    for (a, b), cells in shares.items():
        rate = over_seeds_and_prompts(cells)
        if rate is None:
            continue
        low, high = wilson_interval(rate.mean * rate.prompts, rate.prompts)
        if rate.low is not None and rate.high is not None:
            low, high = max(0.0, min(low, rate.low)), min(1.0, max(high, rate.high))
        met += [
            Meeting(a, b, pairs[a, b], rate.prompts, rate.mean, low, high),
            Meeting(b, a, pairs[a, b], rate.prompts, 1 - rate.mean, 1 - high, 1 - low),
        ]
    return tuple(met)


def _differing(rows: Sequence[ExperimentRun], order: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings that at least two arms have and in which they differ: setting → arm → value."""
    settings = {run.arm: run.settings for run in rows if _makes(run)}
    names = dict.fromkeys(key for arm in order for key in settings.get(arm, {}) if key not in OWN)
    table = {key: {arm: settings[arm][key] for arm in order if key in settings.get(arm, {})} for key in names}
    return {
        key: row
        for key, row in table.items()
        if len(row) > 1 and any(value != next(iter(row.values())) for value in row.values())
    }


def rate_text(met: Meeting) -> str:
    """A win rate with its interval, `63 % (48–76)`."""
    return f"{100 * met.rate:.0f}% ({100 * met.low:.0f}–{100 * met.high:.0f})"


def estimate_text(value: MeanInterval | None, digits: int = 2, *, signed: bool = False) -> str:
    """A figure with its interval, `1.20 (0.90…1.50)`; a dash where there is none."""
    if value is None:
        return "–"
    sign = "+" if signed else ""
    text = f"{value.mean:{sign}.{digits}f}"
    if value.low is None or value.high is None:
        return text
    return f"{text} ({value.low:{sign}.{digits}f}…{value.high:{sign}.{digits}f})"
