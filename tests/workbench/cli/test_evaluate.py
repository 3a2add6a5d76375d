"""`workbench evaluate reward`: an exported model on a file, the table, JSON, and what was measured before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from engine.scoring import Scorer
from storage import artifacts
from storage.store import Store
from tests.workbench.cli.shell import Shell, one_sentence

WORDS = ("Yes.", "No, never.", "Perhaps one day.", "Of course not.")


def test_a_model_is_measured_on_a_file_that_is_not_imported(tiny_onnx: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.environment["COLUMNS"] = "80"
    with Store.open(tmp_path / "store.duckdb") as store:
        model = artifacts.insert(store, run_id="r", kind="reward_model", name="rm", path=str(tiny_onnx))
        for name in ("fp32", "int8"):
            path = str(tiny_onnx / f"{name}.onnx")
            artifacts.insert(store, run_id="x", kind="onnx", name=name, path=path, parent_id=model)
    rows = [
        {
            "prompt": f"Is {n} a number?",
            "chosen": WORDS[n % 4],
            "rejected": WORDS[(n + 1) % 4],
            "subset": part,
        }
        for n, part in enumerate(("small", "small", "large", "large"))
    ]
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    nothing = shell("evaluate", "reward", "rm")
    assert nothing.stdout == ""
    assert "--on FILE" in nothing.stderr
    command = ("evaluate", "reward", "rm", "--on", "bench.jsonl", "--precision", "fp32")
    told = cast("dict[str, Any]", shell.json(*command))
    scorer = Scorer.open(tiny_onnx, "fp32")
    right = []
    for row in rows:
        chat = [{"role": "user", "content": row["prompt"]}]
        better, worse = scorer.score(chat, [row["chosen"], row["rejected"]])
        right.append(float(better.score > worse.score))
    accuracy = {(f["level"], f["part"]): f["value"] for f in told["figures"] if f["figure"] == "accuracy"}
    assert accuracy["all", ""] == sum(right) / 4
    assert accuracy["subset", "small"] == sum(right[:2]) / 2
    done = shell("evaluate", "reward", "rm")
    assert done.returncode == 0, done.stderr
    assert f"{sum(right) / 4:.3f}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "── bench.jsonl · onnx-fp32" in done.stdout
    report = shell("report", "reward", "rm")
    assert "── Benchmarks" in report.stdout
    stored = cast("list[dict[str, Any]]", shell.json("sql", "SELECT count(*) AS n FROM prompts"))
    assert stored[0]["n"] == 0
    for wrong in (("--on", "none.jsonl"), ("--on", "bench.jsonl", "--split", "dev"), ("--on", "llmbar")):
        refused = shell("evaluate", "reward", "rm", *wrong)
        assert (refused.returncode, refused.stdout) == (1, "") or refused.returncode == 2
        assert one_sentence(refused.stderr), refused.stderr
