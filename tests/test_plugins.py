"""What other packages add by entry points, with a package installed as pip would install it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from engine.protocol.rundir import RunDir

EXAMPLE = Path(__file__).parent / "example_plugin"
ROOT = Path(__file__).resolve().parents[1]


def install(folder: Path, *, broken: bool = False) -> Path:
    """The package and its entry points, laid out as pip lays them; `broken` adds some that lead nowhere."""
    shutil.copytree(EXAMPLE / "workbench_example", folder / "workbench_example")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        lines += ["broken = workbench_example.absent:nothing"] if broken else []
    about = folder / "workbench_example-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: workbench-example\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("\n".join(lines))
    return folder


def python(folder: Path, *arguments: str, ok: bool = True) -> str:
    """What an interpreter says that finds the package."""
    paths = os.pathsep.join([str(ROOT), str(folder), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert (done.returncode == 0) is ok, done.stderr
    return done.stdout if ok else done.stderr


STUDY = """
import json, sys
from pathlib import Path
import workbench

folder = Path(sys.argv[1])
with workbench.open(":memory:") as study:
    study.import_file(folder / "deck.cards")
    judged = study.judge_by_rule("brief")
    study.export_data("pairs", folder / "better.jsonl", layout="cards")
print(json.dumps({"judged": judged}))
"""


def test_a_reader_a_rule_and_a_format_are_used(tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    (tmp_path / "deck.cards").write_text("Hi?\n--\nHello, hello.\n\nHi?\n--\nHi.\n\nWhy?\n--\nSo.\n")
    assert json.loads(python(site, "-c", STUDY, str(tmp_path))) == {"judged": 1}
    (line,) = (tmp_path / "better.jsonl").read_text().splitlines()
    assert json.loads(line) == {"front": "Hi?", "back": "Hi."}


def test_a_file_that_the_reader_refuses_is_one_sentence(tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    (tmp_path / "bad.cards").write_text("Hi?\n--\nHello.\n\nno dashes here\n")
    said = python(
        site,
        "-m",
        "workbench",
        "--db",
        str(tmp_path / "s.duckdb"),
        "import",
        str(tmp_path / "bad.cards"),
        ok=False,
    )
    assert "bad.cards: the plugin for .cards failed after row 1 (ValueError: the card" in said
    assert "Traceback" not in said


def test_a_job_has_its_command_and_its_options(tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    assert "mean-baseline" in python(site, "-m", "workbench", "train", "--help")
    said = python(site, "-m", "workbench", "train", "mean-baseline", "--help")
    assert "REINFORCE with the mean reward" in said
    assert "--kl-target" in said


def test_a_job_runs_in_the_worker_with_a_reward_of_a_plugin(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("torch")

    site = install(tmp_path / "site")
    code = """
import json, sys
from pathlib import Path
from engine.protocol.building import build
from engine.protocol.catalog import JOBS
from tests.engine.training.runs import make_run, prompts

path, model = map(Path, sys.argv[1:])
config = build(JOBS["mean_baseline"].config, {
    "name": "short", "rewards": ("plugin:brevity",), "steps": "1", "prompts_per_step": "2", "samples": "2",
    "max_new_tokens": "4", "epochs": "1", "tuning": "full", "dtype": "float32", "device": "cpu",
})
make_run(path, config, {"policy": model}, {"prompts": prompts(2)})
"""
    run = tmp_path / "run"
    python(site, "-c", code, str(run), str(tiny_model))
    python(site, "-m", "engine.worker", str(run))
    said = [json.loads(line)["event"] for line in RunDir(run).events_path.read_text().splitlines()]
    assert said[-1]["type"] == "finished", said[-1]
    (metrics,) = (event["values"] for event in said if event["type"] == "metrics")
    assert metrics["reward/plugin:brevity"] < 0


def test_a_judge_judges_in_the_worker(tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    (tmp_path / "deck.cards").write_text("Why?\n--\nSo.\n\nWhy?\n--\nBecause it is so.\n")
    code = """
import json, sys
from pathlib import Path
import workbench

with workbench.open(Path(sys.argv[1]) / "study.duckdb") as study:
    study.import_file(Path(sys.argv[1]) / "deck.cards")
    run = study.judge_by_model(by="function", function="plugin:briefer").wait()
    rows = study.sql("SELECT annotator, share FROM judge_pairs").rows()
    print(json.dumps([rows, run.detail.device, "torch" in sys.modules]))
"""
    ((annotator, share),), device, heavy = json.loads(python(site, "-c", code, str(tmp_path)))
    assert (annotator, device, heavy) == ("ai:briefer", "cpu", False)
    assert round(max(share, 1 - share), 3) == round(17 / 20, 3)


def test_what_cannot_be_loaded_is_told_by_name_and_missing_from_lists(tmp_path: Path) -> None:
    site = install(tmp_path / "site", broken=True)
    code = """
import json
from engine.errors import UsageError
from engine.protocol.catalog import JOBS, find_job
from workbench.services.plugins import installed
try:
    find_job("broken")
except UsageError as error:
    print(json.dumps([str(error), list(JOBS), installed()]))
"""
    sentence, kinds, plugins = json.loads(python(site, "-c", code))
    assert sentence.startswith(
        "The plugin “broken” (workbench_example.absent:nothing, jobs) cannot be loaded:"
    )
    assert "mean_baseline" in kinds
    assert "ppo" in kinds
    assert "broken" not in kinds
    assert {name for name, said in plugins.items() if "cannot be loaded" in said} == {
        f"{group} broken" for group in ("jobs", "rewards", "rules", "judges", "readers", "formats")
    }
    assert plugins["rules brief"] == "workbench_example.scoring:brevity"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "ppo", "--help"]])
def test_nothing_is_looked_for_before_it_is_asked_for(arguments: list[str]) -> None:
    code = f"""
import sys
from workbench.cli import run
run({arguments!r})
from engine.protocol.plugins import plugged
print("LOOKED" if plugged.cache_info().currsize else "NOT LOOKED")
"""
    assert python(ROOT, "-c", code).splitlines()[-1] == "NOT LOOKED"


def test_the_two_loaders_say_and_do_the_same() -> None:
    """They stand twice because engine and storage do not know each other (docs/decisions/0021)."""
    import ast

    def functions(path: str, error: str) -> dict[str, str]:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8").replace(error, "TheError"))
        return {
            node.name: ast.unparse(node)
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name in ("plugged", "load")
        }

    ours = functions("engine/protocol/plugins.py", "UsageError")
    assert ours == functions("storage/plugins.py", "StoreError")
    assert set(ours) == {"plugged", "load"}
