"""Making the queues that a project asks for: which tasks, which gold answers, and who gets them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import judgements, policies, projects, prompts
from storage.projects import QueueEntry
from storage.store import Store
from workbench.services.projects.crossing import Crossing, deal_crossed, order_of_ways, twins
from workbench.services.projects.dealing import Entry, QueuePlan, Task, deal
from workbench.services.projects.project_file import ProjectFile


@dataclass(frozen=True)
class Applied:
    """What applying a file came to."""

    name: str
    version: int
    changed: bool
    """The text or the guidelines are not those of before."""
    tasks: int
    new: Mapping[str, int]
    """New entries by annotator."""
    dropped: int
    """Open entries of the version before that were dealt anew or left out."""
    gold: int


def apply(
    store: Store, project: ProjectFile, text: str, guidelines: str, folder: str, *, dry_run: bool
) -> Applied:
    """Deal what the project's file asks for to its annotators' queues, in one transaction.

    What is done stays. The same text again adds what new data asks for; another text deals anew what is not
    done. With `dry_run` nothing is stored. Raises UsageError where gold or
    filters name what the store has not, or a crossed project has too few annotators.
    """
    _refuse_few(project)
    before = projects.version(store, project.name)
    same = before is not None and (before.source, before.guidelines) == (text, guidelines)
    answers = _gold(store, project)
    tasks = _tasks(store, project, answers)
    standing = projects.entries(store, project.name)
    staying = [entry for entry in standing if entry.done or same]
    gold = tuple(Task(prompt, tuple(sorted(ranks))) for prompt, ranks in sorted(answers.items()))
    new = list(_dealt(project, _plan(project, tasks, gold, staying), staying))
    if not dry_run:
        with store.transaction():
            projects.put(store, project.name, project.mode, project.first_criterion, project.overlap)
            if not same:
                projects.add_version(store, project.name, text, guidelines, folder)
                projects.drop_open(store, project.name)
            projects.put_gold(store, project.name, answers)
            projects.add_entries(store, project.name, new)
    by = {name: sum(entry.annotator == name for entry in new) for name in project.annotators}
    version = (before.version if before else 0) + (not same)
    return Applied(
        project.name, version, not same, len(tasks), by, len(standing) - len(staying), len(answers)
    )


def _refuse_few(project: ProjectFile) -> None:
    """Others than those who rank are to rate, so there must be twice the overlap."""
    crossed, wanted = project.crossed, 2 * project.overlap
    if crossed is not None and crossed.people == "others" and len(project.annotators) < wanted:
        raise UsageError(
            f"The project “{project.name}” is crossed between people: overlap {project.overlap} in each way "
            f"needs {wanted} annotators, and it has {len(project.annotators)}; add some, or say people = "
            '"same" under [crossed].'
        )


def _tasks(store: Store, project: ProjectFile, gold: Mapping[str, object]) -> list[Task]:
    """What is labelled, the oldest prompt first; gold questions are not labelled."""
    _refuse_unknown(store, project)
    asked = project.prompts
    tasks = projects.tasks(
        store,
        source=asked.source,
        split=asked.split,
        subset=asked.subset,
        ids=asked.ids or None,
        policies=project.policies or None,
    )
    tasks = [(prompt, responses) for prompt, responses in tasks if prompt not in gold]
    if asked.limit is not None and len(tasks) > asked.limit:
        chosen = random.Random(f"{project.seed} prompts").sample(range(len(tasks)), asked.limit)
        tasks = [tasks[place] for place in sorted(chosen)]
    if not tasks and not gold:
        raise UsageError(
            f"The project “{project.name}” has nothing to label: no prompt that it names has two "
            "different responses; import or generate some, or change [prompts]."
        )
    return [task for prompt, responses in tasks for task in _tasks_of(project, prompt, responses)]


def _refuse_unknown(store: Store, project: ProjectFile) -> None:
    """A name that the store does not know would leave the queues empty without a word."""
    known = {row.name for row in policies.listed(store)} if project.policies else set()
    for name in project.policies:
        if name not in known:
            raise UsageError(
                f"The project “{project.name}” names the policy “{name}”, which does not exist. "
                f"{did_you_mean(name, known)}"
            )
    source = project.prompts.source
    if source is not None:
        sources = [name for name, _ in prompts.sources(store) if name]
        if source not in sources:
            raise UsageError(
                f"The project “{project.name}” names the source “{source}”, which no prompt has. "
                f"{did_you_mean(source, sources)}"
            )


def _gold(store: Store, project: ProjectFile) -> dict[str, dict[str, int]]:
    """Known answers: ranks by response, by prompt."""
    asked, gold = project.gold, {}
    most = 2 if "pair" in project.ways else project.responses
    if asked.by is not None:
        ranked = projects.ranked_by(store, asked.by, project.first_criterion)
        usable = {prompt: ranks for prompt, ranks in ranked.items() if 2 <= len(ranks) <= most}
        if not usable:
            raise UsageError(
                f"The project “{project.name}”: “{asked.by}” has ranked no prompt of at most {most} "
                "responses; their rankings are to be the gold answers."
            )
        chosen = sorted(usable)
        if asked.count is not None and asked.count < len(chosen):
            chosen = random.Random(f"{project.seed} gold").sample(chosen, asked.count)
        gold = {prompt: usable[prompt] for prompt in chosen}
    for answer in asked.answers:
        ranks = {
            key: rank
            for rank, group in enumerate(answer.ranking, 1)
            for key in ([group] if isinstance(group, str) else group)
        }
        prompts_of = judgements.prompts_by_response(store, list(ranks))
        strange = next((key for key in ranks if prompts_of.get(key) != answer.prompt), None)
        if strange is not None or len(ranks) > most:
            wrong = (
                f"{strange} is not a response to it"
                if strange is not None
                else f"it ranks more responses than are judged at once ({most})"
            )
            raise UsageError(f"The project “{project.name}”: the gold answer to {answer.prompt}: {wrong}.")
        gold[answer.prompt] = ranks
    return gold


def _tasks_of(project: ProjectFile, prompt: str, responses: list[str]) -> Iterable[Task]:
    """What is judged of one prompt: some of its responses at once, or pairs of them."""
    chooser = random.Random(f"{project.seed} {prompt}")
    if "pair" not in project.ways:
        chosen = (
            responses if len(responses) <= project.responses else chooser.sample(responses, project.responses)
        )
        return [Task(prompt, tuple(sorted(chosen)))]
    pairs = list(combinations(sorted(responses), 2))
    if project.pairs is not None and project.pairs < len(pairs):
        pairs = chooser.sample(pairs, project.pairs)
    return [Task(prompt, pair) for pair in pairs]


def _plan(
    project: ProjectFile, tasks: list[Task], gold: tuple[Task, ...], staying: list[QueueEntry]
) -> QueuePlan:
    standing: dict[str, list[Entry]] = {}
    for entry in staying:
        task = Task(entry.prompt_id, entry.responses)
        kept = Entry(task, entry.kind, entry.mode)  # type: ignore[arg-type]
        standing.setdefault(entry.annotator, []).append(kept)
    return QueuePlan(
        tuple(tasks),
        project.annotators,
        project.overlap,
        gold,
        project.repeats,
        project.repeat_after,
        shuffled=project.order != "oldest",
        seed=project.seed,
        kept=standing,
    )


def _dealt(project: ProjectFile, plan: QueuePlan, staying: list[QueueEntry]) -> Iterable[QueueEntry]:
    """New entries with their places; of a crossed project with what must be answered before them."""
    crossed = project.crossed
    if crossed is None:
        yield from _placed(deal(plan), staying)
        return
    crossing = Crossing((project.mode, crossed.way), crossed.people == "same")
    dealt = deal_crossed(plan, crossing)
    apart = crossed.days if crossing.same_people else None
    first = {name: order_of_ways(plan, crossing, name)[0] for name in dealt}
    before = {name: iter(twins(queue, first[name])) for name, queue in dealt.items()}
    kept = {
        (entry.annotator, entry.prompt_id, entry.responses, entry.mode or project.mode): entry
        for entry in staying
        if entry.kind == "label"
    }
    for entry in _placed(dealt, staying):
        task, name = next(before[entry.annotator]), entry.annotator
        if apart is not None and task is not None:
            key = (name, task.prompt_id, task.responses, first[name])
            twin = kept.get(key) or QueueEntry(
                name, "label", task.prompt_id, task.responses, mode=first[name]
            )
            entry = replace(entry, behind=projects.assignment_id(project.name, twin), days=apart)
        yield entry


def _placed(dealt: Mapping[str, list[Entry]], staying: list[QueueEntry]) -> Iterable[QueueEntry]:
    """New entries with their places, behind those that are kept."""
    last: dict[str, int] = {}
    for entry in staying:
        last[entry.annotator] = max(last.get(entry.annotator, -1), entry.position)
    for name, entries in dealt.items():
        for place, new in enumerate(entries, last.get(name, -1) + 1):
            yield QueueEntry(name, new.kind, new.task.prompt_id, new.task.responses, place, mode=new.mode)
