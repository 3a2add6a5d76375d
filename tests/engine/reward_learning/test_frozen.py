"""The reward job on a frozen trunk: features once, a head that reads them, everything announced."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel

from engine.errors import UsageError
from engine.frozen.store import FeatureStore
from engine.models.packing import Row
from engine.models.reward_model import load_reward_model
from engine.protocol.configs import RewardConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Metrics, Output
from engine.protocol.rundir import RunDir
from engine.reward_learning.fine_tuning.objective import check
from engine.reward_learning.frozen import features as frozen_features
from engine.reward_learning.frozen.fit import run_frozen, save_frozen
from engine.scoring.head import RewardHead
from engine.tables import read_rows
from engine.training.split import heldout_prompts
from tests.engine.training.runs import chat, make_run, only, rankings

CONFIG = RewardConfig(name="frozen", policy="tiny", tuning="frozen", dtype="float32", device="cpu", seed=1)


def responses(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All that were judged, and one that nobody has."""
    seen = {row["response_id"]: {k: row[k] for k in ("response_id", "messages", "text")} for row in rows}
    new = {"response_id": "unjudged", "messages": chat("say 0"), "text": "aab"}
    return [*seen.values(), new]


def prepared(path: Path, model: Path, config: RewardConfig = CONFIG, **tables: Any) -> RunDir:
    rows = rankings()
    return make_run(
        path, config, {"policy": model}, {"rankings": rows, "responses": responses(rows)} | tables
    )


@pytest.fixture(scope="module")
def done(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, list[Event]]:
    run = prepared(tmp_path_factory.mktemp("frozen") / "run", tiny_model)
    return run, list(run_frozen(CONFIG, run, tiny_model))


def test_it_learns_and_says_how_well(done: tuple[RunDir, list[Event]]) -> None:
    _, events = done
    values = {name: value for event in only(events, Metrics) for name, value in event.values.items()}
    assert {"heldout/annotator/ann/accuracy", "heldout/annotator/ben/accuracy"} <= set(values)
    assert values["heldout/accuracy"] > 0.8  # the more `a` the better, which features tell
    assert values["heldout/log_loss"] < 0.6
    assert values["heldout/pairs"] == 3 * 6 * 2
    assert {"heldout/accuracy_longer", "heldout/kendall_tau", "heldout/score_length_correlation"} <= set(
        values
    )
    assert any("← chosen" in event.text for event in only(events, Message))
    curve = [event for event in only(events, Metrics) if "curve/accuracy" in event.values]
    steps = [event.step for event in curve]
    assert len(steps) >= 5
    assert steps == sorted(set(steps))
    assert curve[-1].values["curve/log_loss"] == pytest.approx(values["heldout/log_loss"], abs=1e-3)
    assert isinstance(events[-1], Finished)
    assert events[-1].summary["heldout_accuracy"] == values["heldout/accuracy"]


def test_every_judged_pair_has_a_margin_from_each_time_that_its_prompt_was_held_out(
    done: tuple[RunDir, list[Event]],
) -> None:
    run, events = done
    (told,) = (event for event in only(events, Output) if event.kind == "unseen")
    rows = pq.read_table(run.path / told.path).to_pylist()
    times = Counter((row["criterion"], row["response_a"], row["response_b"]) for row in rows)
    assert set(times.values()) == {4}
    assert len({row["prompt_id"] for row in rows}) == len({row["prompt_id"] for row in rankings()})
    of_split = {(row["split"], row["prompt_id"]) for row in rows}
    assert len(of_split) == 4 * len({prompt for _, prompt in of_split})
    values = {name: value for event in only(events, Metrics) for name, value in event.values.items()}
    assert values["unseen/splits"] == 20
    assert values["unseen/accuracy"] > 0.8


def test_only_a_frozen_trunk_is_controlled_for_length() -> None:
    config = msgspec.structs.replace(CONFIG, length="controlled", tuning="full")
    with pytest.raises(UsageError, match="length controlled is for tuning frozen, and tuning is full"):
        check(config)


def test_the_split_is_told_and_is_that_of_fine_tuning(done: tuple[RunDir, list[Event]]) -> None:
    run, events = done
    (split,) = (event for event in only(events, Output) if event.kind == "splits")
    rows = pq.read_table(run.path / split.path).to_pylist()
    held = {row["prompt_id"] for row in rows if row["split"] == "heldout"}
    assert held == heldout_prompts([f"p{n}" for n in range(16)], holdout=CONFIG.holdout, seed=CONFIG.seed)
    assert len(rows) == 16


def test_the_folder_gives_the_announced_scores(done: tuple[RunDir, list[Event]], tiny_model: Path) -> None:
    run, events = done
    artifact = next(event for event in only(events, Artifact) if event.kind == "reward_model")
    folder = run.path / artifact.path
    reward_model = load_reward_model(folder, "float32")
    (output,) = (event for event in only(events, Output) if event.kind == "scores")
    assert events.index(artifact) < events.index(output)
    rows = {row["response_id"]: row for row in pq.read_table(run.path / output.path).to_pylist()}
    assert len(rows) == 16 * 4 + 1
    tokens = reward_model.tokeniser.encode_for_score([{"role": "user", "content": "say 0"}], "aab")
    scores = reward_model.scores([Row(tokens.prompt, [tokens.response])])
    assert rows["unjudged"]["score"] == pytest.approx(scores[0, 0].item(), abs=1e-4)
    assert rows["unjudged"]["uncertainty"] > 0
    assert rows["unjudged"]["criterion"] == "overall"
    assert artifact.details["tuning"] == "frozen"
    assert artifact.details["criteria"] == ("overall",)
    trunk = AutoModel.from_pretrained(folder)
    base = AutoModel.from_pretrained(tiny_model)
    assert type(trunk).__name__ == "LlamaModel"
    assert all(torch.equal(a, b) for a, b in zip(trunk.parameters(), base.parameters(), strict=True))


def test_features_are_kept_and_taken_over(
    done: tuple[RunDir, list[Event]], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, events = done
    features = next(event for event in only(events, Artifact) if event.kind == "features")
    assert features.details == {"base": "tiny", "layers": "1,2", "width": 128, "responses": 65}
    assert json.loads((run.path / "features/features.json").read_text())["layers"] == [1, 2]
    assert sorted(path.name for path in (run.path / "features").iterdir()) == [
        "features.json",
        "features.parquet",
    ]

    again = prepared(tmp_path / "again", tiny_model)
    inputs = again.inputs
    table = run.path / "features/features.parquet"
    again.write_inputs(type(inputs)(inputs.models, inputs.tables | {"features": table}, inputs.data_hash))
    monkeypatch.setattr(frozen_features, "load_trunk", None)  # nothing is left to compute
    repeated = list(run_frozen(CONFIG, again, tiny_model))
    assert any(
        "There already: the features of 65 responses." in event.text for event in only(repeated, Message)
    )
    one, other = (RewardHead.load(r.path / "model") for r in (run, again))
    np.testing.assert_allclose(one.weight, other.weight, atol=1e-6)


def test_without_a_queue_only_judged_responses_are_computed(
    done: tuple[RunDir, list[Event]], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = done
    run = prepared(tmp_path / "run", tiny_model)
    inputs = run.inputs
    judged = {row["response_id"] for row in read_rows(run.table("rankings"), ["response_id"])}
    earlier = whole.path / "features/features.parquet"
    tables = {"rankings": inputs.tables["rankings"]}
    run.write_inputs(type(inputs)(inputs.models, tables, inputs.data_hash))
    encoded: list[str] = []
    whole_compute = frozen_features._compute

    def counted(config: Any, folder: Any, tokeniser: Any, info: Any, waiting: Any, parts: Any) -> Any:
        encoded.extend(waiting)
        return whole_compute(config, folder, tokeniser, info, waiting, parts)

    monkeypatch.setattr(frozen_features, "_compute", counted)
    events = list(run_frozen(CONFIG, run, tiny_model))
    assert set(encoded) == judged
    assert len(encoded) == len(judged) < 65
    scores = next(event for event in only(events, Output) if event.kind == "scores")
    assert scores.rows == len(judged)

    # Features of two earlier runs are put together, and nothing is computed.
    again = prepared(tmp_path / "again", tiny_model)
    own = run.path / "features/features.parquet"
    both = again.inputs.tables | {"features": own, "features_2": earlier}
    again.write_inputs(type(inputs)(inputs.models, both, inputs.data_hash))
    encoded.clear()
    list(run_frozen(CONFIG, again, tiny_model))
    assert encoded == []


def test_features_of_another_model_are_not_taken_over(
    done: tuple[RunDir, list[Event]], tiny_model: Path, tmp_path: Path
) -> None:
    run, _ = done
    other = tmp_path / "other"
    save_frozen(tiny_model, other, RewardHead.load(run.path / "model"))
    again = prepared(tmp_path / "again", other)
    inputs = again.inputs
    table = run.path / "features/features.parquet"
    again.write_inputs(type(inputs)(inputs.models, inputs.tables | {"features": table}, inputs.data_hash))
    said = [event.text for event in only(run_frozen(CONFIG, again, other), Message)]
    assert not any("already" in text for text in said)


def test_a_stopped_run_goes_on_where_it_was(
    done: tuple[RunDir, list[Event]], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_features, "SECONDS_A_PART", 0.0)
    monkeypatch.setattr(frozen_features, "FEATURE_TOKENS", 256)
    run = prepared(tmp_path / "run", tiny_model)
    events = run_frozen(CONFIG, run, tiny_model)
    for event in events:
        if getattr(event, "stage", "") == "features":
            break
    events.close()  # type: ignore[attr-defined]
    kept = FeatureStore.open(*sorted((run.path / "features/parts").glob("part-*.parquet")))
    assert 0 < len(kept) < 65
    rest = list(run_frozen(CONFIG, run, tiny_model))
    assert any(
        f"There already: the features of {len(kept)} responses." in event.text
        for event in only(rest, Message)
    )
    one, other = (RewardHead.load(r.path / "model") for r in (done[0], run))
    np.testing.assert_allclose(one.weight, other.weight, atol=1e-4)
    list(run_frozen(CONFIG, run, tiny_model))  # and once more, when all is there


def test_criteria_are_learned_side_by_side(tiny_model: Path, tmp_path: Path) -> None:
    rows = rankings()
    brief = [
        row | {"criterion": "brief", "judgement_id": row["judgement_id"] + "b", "rank": 5 - row["rank"]}
        for row in rows
    ]
    dull = [row | {"criterion": "dull", "judgement_id": row["judgement_id"] + "d", "rank": 1} for row in rows]
    wanted = msgspec.structs.replace(CONFIG, criterion="all")
    tables = {"rankings": [row | {"criterion": "overall"} for row in rows] + brief + dull}
    run = prepared(tmp_path / "run", tiny_model, wanted, **tables)
    events = list(run_frozen(wanted, run, tiny_model))
    values = {name: value for event in only(events, Metrics) for name, value in event.values.items()}
    assert values["heldout/overall/accuracy"] > 0.8
    assert values["heldout/brief/accuracy"] > 0.8
    assert any("No preference on dull" in event.text for event in only(events, Message))
    head = RewardHead.load(run.path / "model")
    assert head.criteria == ("overall", "brief")
    np.testing.assert_allclose(head.weight[0], -head.weight[1], atol=1e-3)


def test_only_ties_are_nothing_to_learn_from(tiny_model: Path, tmp_path: Path) -> None:
    run = prepared(tmp_path / "run", tiny_model, rankings=[row | {"rank": 1} for row in rankings()])
    with pytest.raises(UsageError, match="no preference to learn from"):
        list(run_frozen(CONFIG, run, tiny_model))
