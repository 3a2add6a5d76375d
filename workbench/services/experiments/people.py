"""People as the judge of an experiment: a labelling project of its answers, which the rank screen follows."""

from __future__ import annotations

from typing import Any

from engine.errors import UsageError
from engine.wording import counted
from storage import experiments
from storage.store import Store
from workbench.services.experiments.planning import arms
from workbench.services.experiments.run_file import PEOPLE, RunFile, parse
from workbench.services.projects.project_file import ProjectFile
from workbench.services.projects.project_file import parse as parse_project
from workbench.services.projects.projects import Applied, Projects

GIVEN = ("name", "policies", "prompts")
"""Settings of the project that the experiment gives."""


def project(file: RunFile, annotator: str) -> tuple[ProjectFile, str]:
    """The project in which people judge an experiment, and its text.

    annotator: who judges where [judging] names nobody.  Raises UsageError for what no project can have.
    """
    import tomli_w

    if reserved := next((key for key in GIVEN if key in file.judging), None):
        raise UsageError(f"[judging]: {reserved} is given by the experiment; leave it out.")
    compared = [arm for arm in arms(file) if not arm.is_reward_model]
    policies = dict.fromkeys(arm.made(file.name, seed) for seed in file.seeds for arm in compared)
    values: dict[str, Any] = {
        "name": file.name, "annotators": [annotator], **file.judging, "policies": list(policies)
    }  # fmt: skip
    if source := file.sample.get("prompts"):
        values["prompts"] = {"source": source}
    text = tomli_w.dumps(values)
    return parse_project(text, "[judging]"), text


def ask(store: Store, projects: Projects, name: str, annotator: str) -> Applied:
    """Let people judge an experiment: the rank screen follows a project of its answers from now on.

    Asked again it adds what is new.  Raises UsageError before every answer is there, or where somebody else
    judges.
    """
    row = experiments.by_name(store, name)
    file = parse(row.text, f"The run file of {name}")
    if file.judge != PEOPLE:
        raise UsageError(f"“{name}” is judged by {file.judge}; set judge to people in its file.")
    open_ = sum(run.role == "sample" and run.status != "done" for run in experiments.runs_of(store, name))
    if open_:
        raise UsageError(
            f"{counted(open_, 'sampling')} of “{name}” {'is' if open_ == 1 else 'are'} not done yet; "
            "people judge once all have answered."
        )
    return projects.follow_text(project(file, annotator)[1])
