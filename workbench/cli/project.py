"""Commands about labelling projects: init, apply, list, show, use, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import UsageError
from engine.files import write_atomic
from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.output import cell, print_json, print_records, print_table
from workbench.cli.session import session
from workbench.services.ranking.draft import Mode

if TYPE_CHECKING:
    from workbench.services.projects.projects import ProjectOverview

NameArgument = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="A project; without one, the one that is followed.")
]
project_app = typer.Typer(
    help="Labelling projects: guidelines, queues of annotators, gold questions, repeats, progress.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Adds the group `project`."""
    app.add_typer(project_app, name="project")


@project_app.command("init")
def init(
    path: Annotated[Path, typer.Argument(help="TOML file to write, as project.toml.")],
    name: Annotated[str | None, typer.Option(help="Name of the project; else that of the file.")] = None,
) -> None:
    """Write a project's file to fill in, and its guidelines beside it."""
    from workbench.services.projects.project_file import write_template

    for file in write_template(path, name or path.stem, session.settings().annotator):
        print(file)


@project_app.command("apply")
def apply(
    path: Annotated[Path, typer.Argument(help="The project's file.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the queues would be; change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the queues that a file asks for, and let the rank screen follow the project.

    What is judged stays; the same file twice changes nothing; after a change, or new prompts, what is open is
    dealt anew.
    """
    projects = session.workspace().judging.projects
    done = projects.apply_file(path, dry_run=True) if dry_run else projects.follow_file(path)
    if as_json:
        print_json(done)
        return
    verb = "would stand" if dry_run else "stand"
    tasks, new = counted(done.tasks, "task"), counted(sum(done.new.values()), "new entry", "new entries")
    print(
        f"{cell(done.name)}, version {done.version}: {tasks}, {done.gold:,} gold; {new} {verb} in the queues."
    )
    if done.dropped:
        print(f"{counted(done.dropped, 'open entry', 'open entries')} of the version before dropped.")
    print_table(("annotator", "new entries"), list(done.new.items()))


@project_app.command("crossed")
def crossed(
    path: Annotated[Path, typer.Argument(help="TOML file to write, as ways.toml.")],
    annotators: Annotated[
        list[str], typer.Option("--annotator", help="Who judges; give it once for each.", show_default=False)
    ],
    way: Annotated[Mode, typer.Option(help="One way of judging.")] = "rank",
    against: Annotated[Mode, typer.Option(help="The other.")] = "rate",
    same: Annotated[
        bool, typer.Option("--same-people", help="Everybody in both ways, not each prompt by others.")
    ] = False,
    days: Annotated[float, typer.Option(help="Of the same people: so long between the two.")] = 7.0,
    overlap: Annotated[int, typer.Option(help="Each prompt by so many annotators, in each way.")] = 2,
    repeats: Annotated[float, typer.Option(help="Share of labels that come once more.")] = 0.1,
    limit: Annotated[int | None, typer.Option(help="So many prompts; else all.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the project; else that of the file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a crossed study: the same responses ranked and rated; “workbench report ways” compares.

    Everybody judges as much in one way as in the other, in two blocks; half of them begin with the one.
    """
    from workbench.services.projects.project_file import Crossed, write_crossed

    design = Crossed(against, "same" if same else "others", days)
    for file in write_crossed(
        path, name or path.stem, annotators, way, design, overlap=overlap, repeats=repeats, limit=limit
    ):
        session.narrator.say(f"{file} is written.")
    apply(path, as_json=as_json)


@project_app.command("list")
def list_projects(as_json: JsonOption = False) -> None:
    """List the projects of the store; > marks the one that the rank screen follows."""
    projects = session.reading().judging.projects
    active = projects.current()
    rows = projects.listed()
    if as_json:
        print_json({"projects": rows, "followed": active.name if active is not None else None})
        return
    columns = ("", "name", "mode", "annotators", "entries", "done")
    marks = [">" if active is not None and row.name == active.name else "" for row in rows]
    print_table(
        columns,
        [
            (mark, row.name, row.mode, row.annotators, row.entries, row.done)
            for mark, row in zip(marks, rows, strict=True)
        ],
    )


@project_app.command("show")
def show(name: NameArgument = None, as_json: JsonOption = False) -> None:
    """Show how far each annotator is, at what pace, and how they did on gold questions and repeats."""
    overview = session.reading().judging.projects.overview(followed(name))
    if as_json:
        print_json(overview)
        return
    full, tasks = overview.tasks.get(overview.overlap, 0), sum(overview.tasks.values())
    print(
        f"{cell(overview.name)}, version {overview.version}: {full:,} of {tasks:,} labelled by "
        f"{overview.overlap}.\n"
    )
    columns = ("annotator", "entries", "done", "skipped", "left", "seconds_each", "seconds_left")
    print_records(overview.progress, columns, as_json=False)
    _print_checks(overview)


def _print_checks(overview: ProjectOverview) -> None:
    if overview.checks:
        print()
        print_table(
            ("annotator", "asked", "questions", "pairs", "agreed"),
            [
                (
                    check.annotator,
                    "gold" if check.what == "gold" else "again",
                    check.questions,
                    check.pairs,
                    check.agreed,
                )
                for check in overview.checks
            ],
        )


@project_app.command("use")
def use(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The project to follow.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Follow no project.")] = False,
) -> None:
    """Choose the project that the rank screen follows."""
    if (name is None) != none:
        raise UsageError("Give the name of a project, or --none to follow no project.")
    session.workspace().judging.projects.use(name)
    print(
        f"F3 follows {cell(name)}." if name else "F3 follows the label queue of the store.", file=sys.stderr
    )


@project_app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder for project.toml and its guidelines.")],
    name: NameArgument = None,
) -> None:
    """Write a project's file and guidelines as they count now, as after a change in the terminal."""
    projects, wanted = session.reading().judging.projects, followed(name)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give a folder.")
    active_file = projects.file(wanted)
    files = {folder / "project.toml": projects.text(wanted)}
    if active_file.guidelines:
        files[folder / Path(active_file.guidelines).name] = projects.guidelines(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        write_atomic(path, text.encode())
        print(path)


def followed(name: str | None) -> str:
    """The project that was named, else the one that is followed."""
    if name:
        return name
    active = session.reading().judging.projects.current()
    if active is None:
        raise UsageError("No project is followed: name one; workbench project list shows them.")
    return active.name
