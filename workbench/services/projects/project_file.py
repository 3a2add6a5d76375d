"""A project as a TOML file that can be versioned: what is labelled, by whom, how, and how it is checked.

name = "helpfulness"
guidelines = "guidelines.md"        # Markdown; relative to this file
mode = "rank"                       # rank, best, pair, best_worst, rate, sort
annotators = ["ada", "bert", "cleo"]
overlap = 2                         # each prompt by so many of them
order = "random"
seed = 1
repeats = 0.1                       # share of labels that come once more, unannounced

[prompts]
source = "prompts.jsonl"            # those that were imported under this name
limit = 200

[gold]
by = "expert"                       # what this annotator has judged is known

[crossed]                           # the same responses judged in a second way
way = "rate"
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import UsageError
from engine.files import write_atomic
from engine.protocol.suggest import did_you_mean
from workbench.services.ranking.draft import Mode
from workbench.services.ranking.item import MOST_SORTED
from workbench.services.ranking.label_queue import ORDERS
from workbench.services.toml_file import converted, quoted, read_text, refuse_unknown, toml_of
from workbench.settings import read_criteria

MOST_ANNOTATORS = 1000


class PromptChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which prompts: all that every given word is true of."""

    source: str | None = None
    split: str | None = None
    subset: str | None = None
    ids: tuple[str, ...] = ()
    limit: int | None = None
    """So many of them, drawn by the seed."""


class GoldAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The known ranking of responses to one prompt: ids, the best first, equal ones in a list."""

    prompt: str
    ranking: tuple[str | tuple[str, ...], ...]


class Gold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Questions whose answer is known, which every annotator meets without being told."""

    by: str | None = None
    """An annotator whose standing rankings are the answers."""
    count: int | None = None
    """So many of these, drawn by the seed; all without it."""
    answers: tuple[GoldAnswer, ...] = ()


class Crossed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second way of judging the same responses, to compare the two."""

    way: Mode
    people: Literal["others", "same"] = "others"
    """others: each prompt by some in one way and by others in the other; same: by the same people in both."""
    days: float = 7.0
    """Of the same people: between the two at least so many days."""


class ProjectFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a project's file says."""

    name: str
    annotators: tuple[str, ...]
    guidelines: str = ""
    mode: Mode = "rank"
    criterion: str = "overall"
    criteria: dict[str, tuple[str, ...]] = {}
    """Of ratings: the words of each scale, the worst first."""
    overlap: int = 1
    order: str = "random"
    """random gives everybody an order of their own, oldest the same; the other orders of the label queue
    choose among what is open."""
    seed: int = 0
    responses: int = 4
    """The most that are judged at once, 2 to 9, or 26 that are sorted; drawn by the seed of more."""
    pairs: int | None = None
    """Of pairs: how many of each prompt, drawn by the seed; all without it."""
    policies: tuple[str, ...] = ()
    """Responses of these policies only."""
    repeats: float = 0.0
    repeat_after: int = 10
    reveal: Literal["end", "never"] = "never"
    prompts: PromptChoice = PromptChoice()
    gold: Gold = Gold()
    crossed: Crossed | None = None

    @property
    def ways(self) -> tuple[Mode, ...]:
        """How it is judged: in one way or, crossed, in two."""
        return (self.mode,) if self.crossed is None else (self.mode, self.crossed.way)

    @property
    def first_criterion(self) -> str:
        """The criterion that tells what is done; both ways of a crossed project judge by it."""
        return next(iter(self.criteria), "overall") if "rate" in self.ways else self.criterion


def parse(text: str, where: str) -> ProjectFile:
    """The project that a TOML text says; `where` names it in sentences.

    Raises `UsageError` for what is not TOML, an unknown key, or a value that cannot be.
    """
    values = toml_of(text, where)
    refuse_unknown(where, values, ProjectFile)
    for table, kind in (("prompts", PromptChoice), ("gold", Gold), ("crossed", Crossed)):
        if isinstance(values.get(table), dict):
            refuse_unknown(f"{where}: [{table}]", values[table], kind)
    if "criteria" in values:
        values["criteria"] = read_criteria(f"{where}: [criteria]", values["criteria"])
    project = converted(values, ProjectFile, where)
    _check(project, where)
    return project


def read(path: Path) -> tuple[ProjectFile, str, str]:
    """Project, TOML text and guidelines of a file.  Raises `UsageError` where one of them cannot be read."""
    where = f"The project file {path}"
    text = read_text(path, where)
    project = parse(text, where)
    return project, text, guidelines_of(project, path.absolute().parent, where)


def guidelines_of(project: ProjectFile, folder: Path, where: str) -> str:
    """The guidelines that a project names, relative to `folder`; empty where it names none."""
    if not project.guidelines:
        return ""
    return read_text(folder / Path(project.guidelines).expanduser(), f"{where}: the guidelines")


def _check(project: ProjectFile, where: str) -> None:
    """What types cannot say."""
    names = project.annotators
    if not project.name.strip() or len(project.name) > 80:
        raise UsageError(f"{where}: name must be 1 to 80 characters.")
    if not names or len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise UsageError(f'{where}: annotators must be different names, as in ["ada", "bert"].')
    if project.order not in ORDERS:
        raise UsageError(
            f"{where}: there is no order “{project.order}”. {did_you_mean(project.order, ORDERS)}"
        )
    limits: tuple[tuple[str, float, float, float], ...] = (
        ("annotators", len(names), 1, MOST_ANNOTATORS),
        ("overlap", project.overlap, 1, len(names)),
        ("responses", project.responses, 2, MOST_SORTED if set(project.ways) == {"sort"} else 9),
        ("repeats", project.repeats, 0, 1),
        ("repeat_after", project.repeat_after, 0, 100_000),
        ("pairs", 1 if project.pairs is None else project.pairs, 1, 36),
        ("crossed.days", project.crossed.days if project.crossed else 0, 0, 365),
        ("prompts.limit", 1 if project.prompts.limit is None else project.prompts.limit, 1, 10**9),
        ("gold.count", 1 if project.gold.count is None else project.gold.count, 1, 10**9),
    )
    for key, value, least, most in limits:
        if not least <= value <= most:
            beyond = " (the number of annotators)" if key == "overlap" else ""
            raise UsageError(f"{where}: {key} is {value:g}; it must be {least:g} to {most:g}{beyond}.")
    if project.crossed is not None and project.crossed.way == project.mode:
        raise UsageError(
            f"{where}: [crossed] way is {project.mode}, and so is mode; they are to be two different ways."
        )
    if "rate" not in project.ways and project.criteria:
        raise UsageError(f'{where}: [criteria] are for ratings; say mode = "rate", or leave them out.')
    for answer in project.gold.answers:
        known = [key for group in answer.ranking for key in ([group] if isinstance(group, str) else group)]
        if len(known) < 2 or len(set(known)) < len(known):
            raise UsageError(
                f"{where}: the gold answer to {answer.prompt} must rank 2 or more responses, each once."
            )


TEMPLATE = """# A labelling project.  workbench project apply FILE makes the queues, again after each change.
name = {name}
guidelines = {guidelines}       # Markdown, shown by ? while one ranks; relative to this file
mode = "rank"                   # rank, best, pair, best_worst, rate, sort
annotators = [{annotator}]
overlap = 1                     # each prompt by so many annotators
order = "random"                # everybody's own; oldest: the same for all
seed = 1
responses = 4                   # judged at once, at most
repeats = 0.1                   # share of labels that come once more, unannounced
repeat_after = 10               # with at least so many others between
reveal = "never"                # policies' names: never, or at the end of a session

[prompts]                       # all of the store, unless:
# source = "prompts.jsonl"      # what was imported under this name
# split = "test"
# limit = 200

# [gold]                        # questions whose answer is known
# by = "expert"                 # what this annotator has ranked
# count = 20

# [criteria]                    # for mode = "rate": each scale, the worst first
# helpfulness = ["useless", "poor", "fair", "good", "excellent"]

# [crossed]                     # the same responses in a second way as well: workbench report ways compares
# way = "rate"
# people = "others"             # or same: everybody in both ways
# days = 7                      # of the same people: so long between the two
"""
GUIDELINES = """# {name}

What is a good response here, and what is not?

- Prefer …
- A tie means …
- Skip a prompt when …
"""


CROSSED = """# The same responses judged in two ways; workbench report ways compares them.
name = {name}
guidelines = {guidelines}
mode = {mode}
annotators = {annotators}
overlap = {overlap}
responses = 4                   # judged at once, at most
repeats = {repeats}
seed = 1

[crossed]
way = {way}
people = {people}               # others: each prompt by others in each way; same: by the same people
days = {days}                   # of the same people: so long between the two
"""
SCALE = """
[criteria]                      # rankings are by the first of them
overall = ["very bad", "bad", "fair", "good", "very good"]
"""


def write_template(path: Path, name: str, annotator: str) -> list[Path]:
    """A project's file to fill in, and its guidelines beside it; nothing that is there is touched."""
    guidelines = path.with_name(f"{path.stem}.md")
    toml = TEMPLATE.format(name=quoted(name), guidelines=quoted(guidelines.name), annotator=quoted(annotator))
    return _written(path, guidelines, toml, name)


def write_crossed(
    path: Path,
    name: str,
    annotators: Sequence[str],
    mode: Mode,
    design: Crossed,
    *,
    overlap: int,
    repeats: float,
    limit: int | None,
) -> list[Path]:
    """The file of a crossed study and its guidelines; nothing that is there is touched.

    Raises `UsageError` for values that cannot be; then nothing is written.
    """
    guidelines = path.with_name(f"{path.stem}.md")
    toml = CROSSED.format(
        name=quoted(name),
        guidelines=quoted(guidelines.name),
        mode=quoted(mode),
        annotators="[" + ", ".join(quoted(one) for one in annotators) + "]",
        overlap=overlap,
        repeats=repeats,
        way=quoted(design.way),
        people=quoted(design.people),
        days=design.days,
    )
    toml += SCALE if "rate" in (mode, design.way) else ""
    toml += "" if limit is None else f"\n[prompts]\nlimit = {limit}\n"
    parse(toml, "The study")
    return _written(path, guidelines, toml, name)


def _written(path: Path, guidelines: Path, toml: str, name: str) -> list[Path]:
    for file in (path, guidelines):
        if file.exists():
            raise UsageError(f"{file} is there already; choose another name.")
    write_atomic(guidelines, GUIDELINES.format(name=name).encode())
    write_atomic(path, toml.encode())
    return [path, guidelines]
