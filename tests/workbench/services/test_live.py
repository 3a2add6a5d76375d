"""The live model: when it fits, what it then knows, and what it says when it cannot."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UsageError
from engine.frozen.store import FILE, write_features
from storage import artifacts, policies, responses
from storage.records import RewardModelRow
from tests.workbench.services.live_helpers import INFO, LAYERS, PARTS, WIDTH, Study
from workbench.services import live_fit
from workbench.services.live import EVERY, FIRST, Live
from workbench.services.workspace import Workspace


@pytest.fixture
def study(workspace: Workspace, tmp_path: Path) -> Study:
    return Study(workspace.store, tmp_path)


def settled(live: Live, refits: int) -> None:
    """Wait until that many fits are done and none goes on."""
    deadline = time.monotonic() + 20
    while live.state.refits < refits or live.state.working:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_without_features_it_waits(workspace: Workspace, study: Study) -> None:
    study.judge(0, 25)
    state = workspace.live.notice()
    assert (state.base, state.standing, state.refits, state.working) == ("", 25, 0, False)
    with pytest.raises(UsageError, match="no features"):
        workspace.live.refit()


def test_it_begins_at_the_20th_judgement_and_goes_on_after_every_few(
    workspace: Workspace, study: Study
) -> None:
    study.write()
    study.judge(0, FIRST - 1)
    live = workspace.live
    assert live.notice().missing == 1
    assert not live.state.working
    with pytest.raises(UsageError, match="starts with 20 judgements; 19 so far"):
        live.refit()
    study.judge(FIRST - 1, FIRST)
    live.notice()
    settled(live, 1)
    assert (live.state.judgements, live.state.pairs) == (FIRST, 3 * FIRST)
    study.judge(FIRST, FIRST + EVERY - 1)
    assert not live.notice().working
    assert live.state.standing == FIRST + EVERY - 1
    study.judge(FIRST + EVERY - 1, FIRST + EVERY)
    live.notice()
    settled(live, 2)
    assert live.state.judgements == FIRST + EVERY
    assert len(live.state.history) == 2


def test_it_learns_what_people_prefer(workspace: Workspace, study: Study) -> None:
    study.write()
    study.judge(0, 35)
    state = workspace.live.refit()
    assert state.accuracy is not None
    assert state.log_loss is not None
    assert state.accuracy > 0.8
    assert state.log_loss < np.log(2)
    assert 0 < (state.accuracy_error or 0) < 0.1
    assert state.head is not None
    assert (state.head.layers, state.head.parts, state.head.kind) == (LAYERS, PARTS, "frozen")
    unseen = [ids for _, ids in study.items[35:]]
    truth = np.array([study.features[response][0] for ids in unseen for response in ids])
    scores = np.array([state.scores[response] for ids in unseen for response in ids])
    assert np.corrcoef(truth, scores)[0, 1] > 0.7


def test_an_undone_judgement_counts_as_news(workspace: Workspace, study: Study) -> None:
    study.write()
    study.judge(0, 30)
    workspace.live.notice()
    settled(workspace.live, 1)
    for _ in range(EVERY):
        workspace.judging.undo("ada")
    workspace.live.notice()
    settled(workspace.live, 2)
    assert workspace.live.state.judgements == 30 - EVERY


def test_responses_without_features_are_told_and_newer_files_fill_the_gap(
    workspace: Workspace, study: Study
) -> None:
    some = [response for _, ids in study.items[:24] for response in ids]
    study.write("first", some)
    study.judge(0, 30)
    state = workspace.live.refit()
    assert (state.pairs, state.without_features) == (24 * 3, 18)
    study.write("second", [key for key in study.features if key not in some], run_id="reward-2")
    workspace.live.notice()
    settled(workspace.live, 2)
    assert (workspace.live.state.pairs, workspace.live.state.without_features) == (30 * 3, 0)


def test_never_two_fits_at_once_and_never_in_the_callers_thread(
    workspace: Workspace, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.write()
    study.judge(0, 30)
    gate, running, most, threads = threading.Event(), [0], [0], set()
    fit = live_fit.fit

    def slow(*arguments: object, **options: bool) -> live_fit.LiveFit:
        running[0] += 1
        most[0] = max(most[0], running[0])
        threads.add(threading.current_thread().name)
        gate.wait(10)
        running[0] -= 1
        return fit(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(live_fit, "fit", slow)
    begun = time.monotonic()
    for _ in range(5):
        assert workspace.live.notice().working
    study.judge(30, 40)
    workspace.live.notice()
    assert time.monotonic() - begun < 8
    gate.set()
    settled(workspace.live, 2)  # what came meanwhile is fitted too, once
    assert most == [1]
    assert threads == {"live refit"}
    assert workspace.live.state.judgements == 40


def test_a_broken_file_is_told_and_judging_goes_on(workspace: Workspace, study: Study) -> None:
    study.write()
    (study.folder / "features" / "features.parquet").write_bytes(b"not parquet")
    study.judge(0, 25)
    workspace.live.notice()
    deadline = time.monotonic() + 10
    while not workspace.live.state.problem:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "is not a file of features" in workspace.live.state.problem
    assert workspace.judging.next_item("ada") is not None


def test_agreement_counts_the_pairs_that_were_put_in_order(workspace: Workspace, study: Study) -> None:
    study.write()
    study.judge(0, 35)
    live = workspace.live
    assert live.agreement(dict.fromkeys(study.items[36][1], 1)) is None, "before the first fit"
    live.refit()
    a, b, c = sorted(study.items[36][1], key=lambda response: -live.state.scores[response])
    found = live.agreement({b: 1, a: 2, c: 3})
    assert found is not None
    assert (found.agree, found.pairs, found.order) == (2, 3, (a, b, c))
    tied = live.agreement({a: 1, b: 1, c: 2})
    assert tied is not None
    assert (tied.agree, tied.pairs) == (2, 2)
    assert live.agreement({a: 1, "unknown": 2}) is None


def test_features_are_asked_of_the_policy_with_most_responses(workspace: Workspace, study: Study) -> None:
    store = workspace.store
    with pytest.raises(UsageError, match="Judge a few prompts first"):
        workspace.live.compute_features(workspace.jobs)
    study.judge(0, 2)
    policies.ensure(store, "few", model="/models/few")
    policies.ensure(store, "many", model="/models/many")
    for number, policy in enumerate(("few", "many", "many")):
        responses.add(store, study.items[0][0], policy, f"own {number}")
    run_id = workspace.live.compute_features(workspace.jobs)
    row = next(run for run in workspace.jobs.list() if run.run_id == run_id)
    assert (row.config["tuning"], row.config["policy"], row.config["name"]) == ("frozen", "many", "live")
    assert [run.kind for run in workspace.jobs.list()] == ["export", "reward"]
    assert workspace.live.notice().computing.startswith(run_id)
    with pytest.raises(UsageError, match="is computing features already"):
        workspace.live.compute_features(workspace.jobs)


def test_the_head_fits_models_whose_trunk_gave_the_same_features(workspace: Workspace, study: Study) -> None:
    study.write()
    study.judge(0, 25)
    same = RewardModelRow("f1", "live", "/x", "reward-1", "/x/onnx", ("int8",), None, None, datetime.now(UTC))
    assert not workspace.live.fits(same), "before the first fit"
    workspace.live.refit()
    assert workspace.live.fits(same)
    assert not workspace.live.fits(replace(same, run_id="reward-2"))
    assert not workspace.live.fits(replace(same, run_id=None))
    folder = study.folder / "other"
    folder.mkdir()
    ids = list(study.features)[:1]
    write_features(folder / FILE, replace(INFO, trunk="c3d4"), [(ids, np.zeros((1, WIDTH)))])
    artifacts.insert(
        workspace.store, run_id="reward-3", kind="features", name="tiny", path=str(folder), step=-1
    )
    assert not workspace.live.fits(replace(same, run_id="reward-3"))


def test_closing_while_it_fits_is_quiet(workspace: Workspace, study: Study) -> None:
    study.write()
    study.judge(0, 30)
    live = Live(workspace.store)
    live.notice()
    live.close()
    assert not live.notice().working or live.state.refits == 0


def test_it_says_what_it_would_learn_most_from_once_somebody_asks(workspace: Workspace, study: Study) -> None:
    """Pairs that nobody has judged, each of another prompt; none before a fit that knew of the question."""
    study.write()
    study.judge(0, 30)
    live = workspace.live
    live.refit()
    assert live.most_informative() == ()
    live.notice()
    settled(live, 2)
    found = live.most_informative()
    assert sorted(prompt for prompt, _, _ in found) == sorted(prompt for prompt, _ in study.items[30:])
    assert all(pair in [(x, y) for x in dict(study.items)[prompt] for y in dict(study.items)[prompt] if x < y]
               for prompt, *both in found for pair in [tuple(both)])  # fmt: skip
    workspace.judging.queue.set_order("reward_model")
    item = workspace.judging.next_item("eve")
    assert item is not None
    assert item.prompt_id == found[0][0]
