"""Reward models on benchmarks, through a scorer that gives the length of the text as its score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from storage import artifacts
from storage.errors import ImportFileError, NotFoundError
from storage.ids import canonical_messages, prompt_id
from storage.measures.benchmark_records import Benchmark
from workbench.services.importing import ImportRequest
from workbench.services.reports import evaluating
from workbench.services.reports.benchmark_text import benchmark_lines, benchmark_title, benchmarks
from workbench.services.reports.evaluating import BEYOND, BenchmarkRequest
from workbench.services.reports.lines import shown
from workbench.services.workspace import Workspace


@dataclass
class LengthScored:
    score: float
    cut: bool = False
    criteria: dict[str, float] = field(default_factory=dict)


class Head:
    criteria = ("overall", "brevity")


class LengthScorer:
    backend = "onnx-int8"
    head = Head()

    def score_many(self, items: Sequence[tuple[list[dict[str, str]], str]]) -> list[LengthScored]:
        if any("refuse" in chat[-1]["content"] for chat, _ in items):
            raise UsageError("The chat template of rm does not accept this prompt.")
        return [
            LengthScored(len(text), len(text) > 9, {"overall": len(text), "brevity": -len(text)})
            for _, text in items
        ]


@pytest.fixture
def exported(filled: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    import engine.scoring

    monkeypatch.setattr(engine.scoring.Scorer, "open", lambda folder, precision: LengthScorer())
    model = artifacts.insert(
        filled.store, run_id="reward-1", kind="reward_model", name="rm", path=str(tmp_path)
    )
    onnx = {"run_id": "export-1", "kind": "onnx", "name": "int8", "path": str(tmp_path / "int8.onnx")}
    artifacts.insert(filled.store, **onnx, parent_id=model)  # type: ignore[arg-type]
    return filled


def written(folder: Path, rows: Sequence[dict[str, Any]], name: str = "bench.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


ROWS = (
    pair("Say a word.", "Longest.", "Short.", subset="x"),
    pair("Say a word.", "No.", "Longest.", subset="x"),
    pair("Say nothing.", "", "Something.", subset="y"),
    pair("Say as much.", "This.", "That.", subset="y"),
    pair("Say as much.", None, "That.", subset="y"),
)


def value(found: Benchmark, name: str, level: str = "all", part: str = "") -> float:
    figure = found.figure(name, level, part)
    assert figure is not None
    return figure.value


def test_figures_are_stored_and_nothing_is_imported(exported: Workspace, tmp_path: Path) -> None:
    before = exported.library.overview()
    heard: list[tuple[str, float, float]] = []
    found = exported.evaluating.reward(
        "rm", written(tmp_path, ROWS), on_progress=lambda *at: heard.append(at)
    )
    assert exported.library.overview() == before
    assert value(found, "accuracy") == pytest.approx((1 + 0 + 0 + 0.5) / 4)
    assert value(found, "accuracy", "subset", "x") == 0.5
    assert value(found, "longer") == value(found, "accuracy")  # it is its scorer
    assert value(found, "longer_loses") == 0.0
    assert found.cut == 1
    assert (found.name, found.backend, found.criterion) == ("bench.jsonl", "onnx-int8", "overall")
    assert sum(found.left_out.values()) == 1
    assert heard[-1] == ("scoring", 8, 8)
    assert exported.evaluating.listed("rm") == [found]
    scores = exported.store.rows(
        "SELECT score, characters, good FROM benchmark_responses ORDER BY item, response"
    )
    assert scores[:2] == [(8.0, 8, True), (6.0, 6, False)]


def test_prompts_that_the_model_refuses_are_left_out_and_counted(exported: Workspace, tmp_path: Path) -> None:
    refused = pair("refuse this", "Word.", "No.")
    found = exported.evaluating.reward("rm", written(tmp_path, [*ROWS, refused]))
    assert found.left_out["comparisons refused by the chat template"] == 1
    assert found.comparisons == 4
    with pytest.raises(UsageError, match="None of the 1 prompts can be used"):
        exported.evaluating.reward("rm", written(tmp_path, [refused]))


def test_the_models_own_criterion_is_read_where_it_has_that_of_the_file(
    exported: Workspace, tmp_path: Path
) -> None:
    rows = [pair("Say a word.", "Short.", "Longest.")]
    found = exported.evaluating.reward("rm", written(tmp_path, rows), BenchmarkRequest(criterion="brevity"))
    assert (found.criterion, value(found, "accuracy")) == ("brevity", 1.0)
    assert exported.store.rows("SELECT scored_as FROM benchmarks") == [("brevity",)]


def test_a_limit_takes_the_same_prompts_whatever_their_order(exported: Workspace, tmp_path: Path) -> None:
    rows = [pair(f"Say the word {n}.", "Word." + "!" * n, "Words.") for n in range(9)]
    taken = []
    for order in (rows, rows[::-1]):
        found = exported.evaluating.reward("rm", written(tmp_path, order), BenchmarkRequest(limit=3))
        assert found.left_out == {BEYOND: 6}
        own = "SELECT prompt_id FROM benchmark_items WHERE benchmark_id = ?"
        taken.append({row for (row,) in exported.store.rows(own, [found.benchmark_id])})
    assert taken[0] == taken[1]
    assert len(taken[0]) == 3


def test_prompts_that_the_model_learned_from_are_told(exported: Workspace, tmp_path: Path) -> None:
    known = prompt_id(canonical_messages([{"role": "user", "content": "Say a word."}]))
    exported.store.write("INSERT INTO run_prompts VALUES ('reward-1', ?, 'train')", [known])
    found = exported.evaluating.reward("rm", written(tmp_path, ROWS))
    assert found.learned == 2
    text = "\n".join(shown(line) for line in benchmark_lines(found, 78))
    assert "2 of 4 comparisons are on prompts that the reward model learned from" in text


def test_what_cannot_be_measured_is_told_in_a_sentence(exported: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no reward model “rn”; there are rm"):
        exported.evaluating.reward("rn", written(tmp_path, ROWS))
    with pytest.raises(UsageError, match="has not been exported to fp32"):
        exported.evaluating.reward("rm", written(tmp_path, ROWS), precision="fp32")
    with pytest.raises(ImportFileError, match="There is no file nowhere"):
        exported.evaluating.reward("rm", "nowhere.jsonl")
    with pytest.raises(
        ImportFileError, match="llmbar is not a data set of the hub: fetch it from https://github"
    ):
        exported.evaluating.reward("rm", "llmbar")
    assert exported.evaluating.listed("rm") == []


def test_a_preset_stands_for_its_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    paths, asked = evaluating._named("rewardbench2", ImportRequest())
    assert (paths, asked.preset) == (["hub:allenai/reward-bench-2"], "rewardbench2")


@pytest.mark.parametrize("width", [44, 58, 78, 98])
def test_tables_keep_their_width(exported: Workspace, tmp_path: Path, width: int) -> None:
    rows = [
        {
            "id": str(n),
            "prompt": f"Say {n}.",
            "chosen": ["Word."],
            "rejected": ["No.", "Never."],
            "subset": name,
        }
        | {"models": ["a", "b", "c"]}
        for n, name in enumerate(["Math", "Focus on what matters most of all", "Math"])
    ]
    found = exported.evaluating.reward("rm", written(tmp_path, rows, "best of three.jsonl"))
    lines = [shown(line) for line in benchmark_lines(found, width)]
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for word in ("all comparisons", "mean of 2 subsets", "Math", "by chance 0.333"):
        assert word in text
    assert benchmark_title(found) == "best of three.jsonl · onnx-int8"
    assert max(len(shown(line)) for line in benchmarks([found], width)) <= width


def test_text_of_files_is_never_obeyed_by_a_terminal(exported: Workspace, tmp_path: Path) -> None:
    rows = [pair("Say a word.", "Word.", "No.", subset=f"x\x1b]52;c;{n}\x07[/b]") for n in range(2)]
    found = exported.evaluating.reward("rm", written(tmp_path, rows))
    text = "".join(shown(line) for line in benchmark_lines(found, 78))
    assert text.isprintable()
