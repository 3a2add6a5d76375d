"""An experiment as a TOML file: methods, seeds and settings, and who judges what comes out.

name = "methods"
seeds = [0, 1, 2]
judge = "gold"                  # a reward model that no method learns from; or people, ai:NAME, …

[settings]                      # of every method that has them
policy = "smollm2"
reward_model = "proxy"
steps = 20

[sample]                        # how the policies answer, to be compared
prompts = "held-out.jsonl"
samples = 4

[judging]                       # of people: annotators, overlap, …; of ai:NAME: settings of `judge ai`
annotators = ["ada"]

[methods.ppo]

[methods."grpo by others"]
method = "grpo"
baseline = "others"

[methods.dpo.grid]              # one arm for each value
beta = [0.05, 0.1]

Every method is run with every seed.  Where they start is an arm too, which learns nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import UsageError
from engine.files import write_atomic
from workbench.services.toml_file import converted, quoted, read_text, refuse_unknown, toml_of

NAME = re.compile(r"\w[\w .+-]{0,39}")
MOST_RUNS = 10_000
OWN = ("name", "seed")
"""Settings that the experiment gives to each run."""
START = "start"
PEOPLE, MODELS = "people", "ai:"


class RunFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file of an experiment says."""

    name: str
    methods: dict[str, dict[str, Any]]
    judge: str = ""
    """Needed where a method makes a policy."""
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: dict[str, Any] = {}
    sample: dict[str, Any] = {}
    judging: dict[str, Any] = {}
    """How the judge is asked, where the experiment starts the judging itself."""


def parse(text: str, where: str) -> RunFile:
    """The experiment that a TOML text says; `where` names it in sentences.

    Raises `UsageError` for what is not TOML, an unknown key, or a value that cannot be.
    """
    values = toml_of(text, where)
    refuse_unknown(where, values, RunFile)
    file = converted(values, RunFile, where)
    if not NAME.fullmatch(file.name):
        raise UsageError(f"{where}: name must be up to 40 letters, digits, spaces and . _ + -.")
    if not file.seeds or len(set(file.seeds)) < len(file.seeds) or min(file.seeds) < 0:
        raise UsageError(f"{where}: seeds must be different whole numbers of at least 0, as in [0, 1, 2].")
    if not file.methods:
        raise UsageError(f"{where} has no method; give one, as [methods.ppo].")
    if file.judging and file.judge != PEOPLE and not file.judge.startswith(MODELS):
        raise UsageError(f"{where}: [judging] is for judge people or ai:NAME; leave it out.")
    return file


def read(path: Path) -> tuple[RunFile, str]:
    """The experiment of a file, and its text.  Raises `UsageError` where it cannot be read."""
    where = f"The run file {path}"
    text = read_text(path, where)
    return parse(text, where), text


def by_reward_model(judge: str) -> bool:
    """Whether a reward model judges, and not people, a kind of annotators or one of them."""
    return bool(judge) and judge not in ("people", "human", "import", "rule", "ai") and ":" not in judge


TEMPLATE = """# An experiment.  workbench experiment run FILE runs what is missing of it, again after a stop.
name = {name}
seeds = [0, 1, 2]               # every method with every seed
judge = "gold"                  # a reward model that no method learns from; or people, ai, ai:NAME

[settings]                      # of every method that has them
policy = "smollm2"
# reward_model = "proxy"
# prompts = "train.jsonl"       # what was imported under this name
# steps = 20

[sample]                        # how the policies answer, to be compared
# prompts = "held-out.jsonl"
samples = 4
max_new_tokens = 64

# [judging]                     # of people, or of models: settings of workbench judge ai
# annotators = ["ada"]

[methods.ppo]                   # a method by its name, as in workbench train --help

# [methods."grpo by others"]    # or under a name of its own
# method = "grpo"
# baseline = "others"

# [methods.small]               # a reward model, which others may name: reward_model = "small"
# method = "reward"

# [methods.dpo.grid]            # one arm for each value
# beta = [0.05, 0.1]
"""


def write_template(path: Path) -> None:
    """A run file to fill in; nothing that is there is touched."""
    if path.exists():
        raise UsageError(f"{path} is there already; choose another name.")
    write_atomic(path, TEMPLATE.format(name=quoted(re.sub(r"[^\w .+-]+", "-", path.stem)[:40])).encode())
