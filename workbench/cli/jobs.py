"""Commands that run jobs: generate, train, export onnx; and the runs themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from engine.errors import WorkbenchError
from engine.protocol.catalog import BUILT_IN, JOBS
from engine.protocol.configs import (
    ExportConfig,
    GenerateConfig,
    JobConfig,
    JudgeConfig,
    RegisterConfig,
    ScoreConfig,
)
from workbench.cli.data import JsonOption, export_app
from workbench.cli.following import follow
from workbench.cli.judging import judge_app
from workbench.cli.options import job_command
from workbench.cli.output import cell, print_json, print_records, print_table
from workbench.cli.session import session
from workbench.services.runs.bottleneck import memory_sentence, step_time

if TYPE_CHECKING:
    from engine.protocol.catalog import JobKind
    from workbench.services.runs.jobs import Jobs, RunDetail


class Trainings(TyperGroup):
    """Commands of built-in trainings, and of plugins' jobs, which are looked for when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The built-in algorithms, then those of plugins."""
        own = super().list_commands(ctx)
        return [*own, *(name for name in map(_command_name, _plugged_jobs()) if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of an algorithm; a plugin is loaded when its name is called."""
        known = super().get_command(ctx, cmd_name)
        kind = cmd_name.replace("-", "_")
        if known is not None or kind in BUILT_IN or kind not in JOBS:
            return known
        job = JOBS[kind]
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(cmd_name)(job_command(job.config, train_policy(job)))
        return typer.main.get_command(alone)


train_app = typer.Typer(help="Train a reward model or a policy.", no_args_is_help=True, cls=Trainings)
register_app = typer.Typer(help="Register what was trained elsewhere.", no_args_is_help=True)
runs_app = typer.Typer(help="The runs of jobs: list, show, stop, resume.", no_args_is_help=True)
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what memory and time it needs, and start nothing.")
]
SeedsOption = Annotated[
    str | None,
    typer.Option(metavar="0,1,2", help="Run once with each seed, and tell every metric with its error."),
]
ExportOption = Annotated[bool, typer.Option("--export/--no-export", help="Export it to ONNX afterwards.")]
REWARD_MODELS = {
    "reward": "Train a reward model on the rankings in the store, and export it for fast scoring.",
    "process_reward": "Train a process reward model on the judged steps in the store, and export it for fast "
    "scoring.",
}
"""What the commands of the jobs do that make a reward model."""
RUN_COLUMNS = (
    "run_id",
    "kind",
    "name",
    "status",
    "stage",
    "progress",
    "device",
    "dtype",
    "created_at",
    "reason",
)


def register(app: typer.Typer) -> None:
    """Adds a command for each job of the catalog; options and help are those of its configuration."""
    app.command("generate")(job_command(GenerateConfig, generate))
    judge_app.command("ai")(job_command(JudgeConfig, judge_by_model))
    app.add_typer(train_app, name="train")
    app.add_typer(runs_app, name="runs")
    for kind, says in REWARD_MODELS.items():
        command = job_command(BUILT_IN[kind].config, train_reward_model(kind, says))
        train_app.command(_command_name(kind))(command)
    for job in BUILT_IN.values():
        if job.makes == "policy":
            train_app.command(_command_name(job.kind))(job_command(job.config, train_policy(job)))
    export_app.command("onnx")(job_command(ExportConfig, export_onnx, arguments={"reward_model": "NAME"}))
    app.add_typer(register_app, name="register")
    command = job_command(RegisterConfig, register_reward_model, arguments={"model": "FOLDER|HUB-ID"})
    register_app.command("reward-model")(command)
    app.command("score-torch", hidden=True)(job_command(ScoreConfig, score_torch))


def _command_name(kind: str) -> str:
    return kind.replace("_", "-")


def _plugged_jobs() -> list[str]:
    return [kind for kind in JOBS if kind not in BUILT_IN]


def generate(config: JobConfig, *, as_json: JsonOption = False) -> None:
    """Sample K responses to every prompt with a language model."""
    _report(run_to_end("generate", config), as_json)


def judge_by_model(config: JobConfig, *, dry_run: DryRunOption = False, as_json: JsonOption = False) -> None:
    """Let a model judge pairs of responses, each in both orders, as an annotator of kind ai."""
    if dry_run:
        _estimate(config, as_json)
    else:
        _report(run_to_end("judge", config), as_json)


def train_reward_model(kind: str, says: str) -> Callable[..., None]:
    """The command of a job that makes a reward model, which `says` what it does."""

    def train(
        config: JobConfig,
        *,
        dry_run: DryRunOption = False,
        export: ExportOption = True,
        as_json: JsonOption = False,
    ) -> None:
        if dry_run:
            _estimate(config, as_json)
        else:
            _made(kind, "train", config, export, as_json)

    train.__doc__ = says
    return train


def train_policy(job: JobKind) -> Callable[..., None]:
    """The command of a job that makes a policy."""

    def train(
        config: JobConfig,
        *,
        seeds: SeedsOption = None,
        dry_run: DryRunOption = False,
        as_json: JsonOption = False,
    ) -> None:
        if dry_run:
            _estimate(config, as_json)
        elif seeds is not None:
            _with_seeds(job.kind, config, seeds, as_json)
        else:
            _report(run_to_end(job.kind, config), as_json)

    train.__doc__ = job.config.__doc__
    return train


def export_onnx(config: JobConfig, *, as_json: JsonOption = False) -> None:
    """Export a reward model to ONNX and verify it against torch on stored responses."""
    _report(run_to_end("export", config), as_json)


def register_reward_model(
    config: JobConfig,
    *,
    export: ExportOption = True,
    as_json: JsonOption = False,
) -> None:
    """Register somebody's AutoModelForSequenceClassification as a reward model, and export it."""
    assert isinstance(config, RegisterConfig)
    _made("register", "register", config, export, as_json)


def score_torch(config: JobConfig, *, as_json: JsonOption = False) -> None:
    """Score stored responses with a reward model, in torch."""
    _report(run_to_end("score", config), as_json)


def _estimate(config: JobConfig, as_json: bool) -> None:
    """Check the names and say what the job will need; nothing is started."""
    from workbench.services.runs.estimates import estimated
    from workbench.services.runs.run_names import check

    store = session.reading().store
    estimate = estimated(store, check(store, config).config)
    if as_json:
        print_json(estimate)
    else:
        print(estimate.sentence)
    _tell_labels(config)


def _tell_labels(config: JobConfig) -> None:
    """Whose judgements a training learns from, and how good its judges are, on standard error."""
    from workbench.services.labels.labels_used import label_words

    for words in label_words(session.workspace().store, config):
        session.narrator.say(words)


def run_to_end(kind: str, config: JobConfig) -> RunDetail:
    """Start a job and follow it to its end; Ctrl-C stops it.  One that failed or was stopped is an error."""
    _tell_labels(config)
    run_id = session.workspace().jobs.submit(kind, config)
    return _follow(kind, run_id)


def _with_seeds(kind: str, config: JobConfig, text: str, as_json: bool) -> None:
    """Queue a run for each seed, follow one after the other, tell what came out over all of them."""
    from workbench.services.runs.seeds import over_seeds, seeds_of, submit

    seeds = seeds_of(text)
    _tell_labels(config)
    workspace = session.workspace()
    ids = submit(workspace.store, workspace.jobs, kind, config, seeds)
    runs = {run_id: _follow(kind, run_id) for run_id in ids}
    figures = over_seeds(workspace.jobs, ids)
    if as_json:
        print_json({"runs": runs, "over_seeds": figures})
        return
    print(f"Mean over the last fifth of the steps, of {len(ids)} seeds: {', '.join(ids)}")
    columns = ("metric", "mean", "standard_error", "low", "high")
    rows = [(each.name, each.mean, each.standard_error, each.low, each.high) for each in figures]
    print_table(columns, rows)


def _made(kind: str, name: str, config: JobConfig, export: bool, as_json: bool) -> None:
    """Run a job that makes a reward model, and its export behind it if wanted; tell of both."""
    if export:
        _tell_labels(config)
        ids = session.workspace().jobs.submit_with_export(kind, config)
        runs = {step: _follow(step, run) for step, run in zip((name, "export"), ids, strict=True) if run}
    else:
        runs = {name: run_to_end(kind, config)}
    if as_json:
        print_json(runs)
    else:
        for detail in runs.values():
            _print_summary(detail)


def _follow(kind: str, run_id: str) -> RunDetail:
    """`_finished`, with a word about which run it is."""
    session.narrator.say(f"Run {run_id} ({kind}).")
    return _finished(run_id)


def _finished(run_id: str) -> RunDetail:
    """Follow a run that somebody has started; the run when it is done, an error when it ended otherwise."""
    jobs = session.workspace().jobs
    session.share()
    row = follow(jobs, run_id, session.narrator)
    if row.status == "failed":
        raise WorkbenchError(f"Run {run_id} failed: {row.reason}")
    if row.status in ("stopped", "paused"):
        raise WorkbenchError(
            f"Run {run_id} was {row.status}; “workbench runs resume {run_id}” goes on with it."
        )
    return jobs.show(run_id)


def _report(detail: RunDetail, as_json: bool) -> None:
    if as_json:
        print_json(detail)
    else:
        _print_summary(detail)


def _print_summary(detail: RunDetail) -> None:
    if detail.summary:
        print_table((detail.run_id, "value"), list(detail.summary.items()))


@runs_app.command("list")
def list_runs(as_json: JsonOption = False) -> None:
    """List all runs, newest first."""
    jobs = _caught_up()
    print_records(jobs.list(), RUN_COLUMNS, as_json=as_json)


def _caught_up() -> Jobs:
    """The jobs, after taking in what they have said; on a full disk they are as they were last stored.

    Where another process holds the store, that process takes it in.
    """
    from storage.errors import DiskFullError

    workspace = session.reading()
    if not workspace.relayed:
        try:
            workspace.jobs.pump()
        except DiskFullError as error:
            session.narrator.say(f"{error} What is shown may be old.")
    return workspace.jobs


@runs_app.command("show")
def show_run(
    run_id: Annotated[str, typer.Argument(help="Id of the run.")],
    as_json: JsonOption = False,
    as_script: Annotated[
        bool, typer.Option("--script", help="Print the commands that make it again from what it read.")
    ] = False,
) -> None:
    """Show a run: its configuration, figures, artifacts and last messages."""
    jobs = _caught_up()
    if as_script:
        from workbench.services.runs.reproduction import script

        print(script(jobs, run_id), end="")
        return
    detail, points_by_metric = jobs.show(run_id), jobs.metrics(run_id)
    metrics = {name: points[-1] for name, points in points_by_metric.items() if points}
    times = step_time(detail.config, points_by_metric)
    if as_json:
        print_json({"run": detail, "last_metrics": {name: value for name, (_, value) in metrics.items()}})
        return
    rows: list[tuple[str, Any]] = [(name, getattr(detail, name)) for name in RUN_COLUMNS]
    rows += [(f"config {name}", value) for name, value in detail.config.items()]
    rows += [(f"summary {name}", value) for name, value in detail.summary.items()]
    rows += [(f"{name} at step {step}", value) for name, (step, value) in sorted(metrics.items())]
    print_table(("what", "value"), rows)
    if times is not None:
        print(f"\n{times.sentence}")
    if memory := memory_sentence(detail, points_by_metric):
        print(memory)
    if detail.stderr_tail:
        session.narrator.say(detail.stderr_tail)


def _ask(run_id: str, asked: Callable[[Jobs], object]) -> None:
    """Ask something of a run, and follow it to where that leads."""
    jobs = session.workspace().jobs
    jobs.pump()
    asked(jobs)
    row = follow(jobs, run_id, session.narrator)
    print(f"Run {cell(run_id)} is {row.status}.")


@runs_app.command("stop")
def stop_run(run_id: Annotated[str, typer.Argument(help="Id of the run.")]) -> None:
    """Ask a running or queued run to stop; it keeps what it has."""
    _ask(run_id, lambda jobs: jobs.stop(run_id))


@runs_app.command("pause")
def pause_run(run_id: Annotated[str, typer.Argument(help="Id of a training run.")]) -> None:
    """Stop a training run at the end of its step, with a checkpoint there; resuming repeats nothing."""
    _ask(run_id, lambda jobs: jobs.pause(run_id))


@runs_app.command("resume")
def resume_run(
    run_id: Annotated[str, typer.Argument(help="Id of a run that was stopped, paused or failed.")],
    as_json: JsonOption = False,
) -> None:
    """Resume a stopped, paused or failed run from its last checkpoint."""
    jobs = session.workspace().jobs
    jobs.pump()
    jobs.resume(run_id)
    _report(_finished(run_id), as_json)
