"""Several processes train what one trains: real `torchrun`, two of them, gloo."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from engine.errors import UsageError
from engine.protocol import launch
from engine.protocol.building import build
from engine.protocol.configs import PPOConfig, RewardConfig, RLOOConfig
from engine.protocol.events import AnyEvent, Failed, Finished, Metrics, Started, Stopped
from engine.protocol.log import EventLog, tail
from engine.protocol.rundir import RunDir
from engine.worker import StopFlag, work
from tests.engine.chat_serving import ChatFake
from tests.engine.policy_learning.judge_files import keep_judges
from tests.engine.training.ranked_configs import CONFIGS, DIVIDED, ENDLESS, POLICY
from tests.engine.training.runs import make_run, only, prompts, rankings

ROOT = Path(__file__).parents[3]
RECOMPUTED = ("ppo, shared critic, every weight", "dpo")
"""Of those divided the ones whose layers are computed again for the backward pass."""
MEASURED = ("policy/seconds", "policy/mfu", "policy/peak")
"""Figures of the machine, which are others every time."""
STARTED: list[tuple[RunDir, launch.Process]] = []


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    while STARTED:
        run, process = STARTED.pop()
        launch.kill(run)
        while launch.alive(process.pid, process.started):
            time.sleep(0.05)


def started(run: RunDir, processes: int) -> launch.Process:
    process = launch.spawn(run, launch.WORKER, (), processes)
    STARTED.append((run, process))
    return process


def events(run: RunDir) -> list[AnyEvent]:
    return [envelope.event for envelope in tail(run.events_path).envelopes]


def until_ended(run: RunDir, process: launch.Process, seconds: float) -> list[AnyEvent]:
    deadline = time.monotonic() + seconds
    while launch.alive(process.pid, process.started):
        assert time.monotonic() < deadline, run.stderr_path.read_text()[-3000:]
        time.sleep(0.05)
    return events(run)


def until_steps(run: RunDir, steps: int, seen: int = 0) -> None:
    """Until a step is told, behind the first `seen` events, which are of an earlier process."""
    deadline = time.monotonic() + 120
    while sum(isinstance(event, Metrics) and event.step >= steps for event in events(run)[seen:]) == 0:
        assert time.monotonic() < deadline, run.stderr_path.read_text()[-3000:]
        assert not only(events(run)[seen:], Failed), events(run)[-1]
        time.sleep(0.05)


def figures(said: list[AnyEvent]) -> dict[tuple[int, str], float]:
    """Every metric that is no time, and no sign of what is 0 but for rounding: DPO's margins at first."""
    return {
        (event.step, name): value
        for event in only(said, Metrics)
        for name, value in event.values.items()
        if not name.startswith(MEASURED) and not (name.endswith("accuracy") and event.step <= 1)
    }


def tables() -> dict[str, list[dict[str, Any]]]:
    return {"prompts": prompts(6), "rankings": rankings(12)}


class Never(StopFlag):
    """Nobody stops it, and no signal is caught."""

    def __init__(self) -> None: ...

    def __bool__(self) -> bool:
        return False


@pytest.fixture(scope="module")
def folders(ppo_models: dict[str, Path]) -> dict[str, Path]:
    return ppo_models


def together(*folders: Path, home: RunDir) -> int:
    """Two processes that work on the runs of these folders one after another; their exit code."""
    worker = (sys.executable, "-m", "tests.engine.training.ranked")
    command = [*launch.together(worker, home, 2), *map(str, folders)]
    environment = {**launch.worker_environment(), **launch.shared_environment(home, 2)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode:
        print(done.stderr[-3000:])
    return done.returncode


@pytest.fixture(scope="module")
def endpoint() -> Iterator[ChatFake]:
    server = ChatFake()
    yield server
    server.close()


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path], endpoint: ChatFake
) -> dict[str, list[RunDir]]:
    """Every configuration, trained by one process (this one) and by two; some with weights divided."""
    folders = {**folders, "judge near": folders["policy"]}
    found: dict[str, list[RunDir]] = {kind: [] for kind in CONFIGS}
    roots = [tmp_path_factory.mktemp(name) for name in ("by1", "by2", "divided")]
    for root in roots:
        sharding = "full" if root is roots[2] else "none"
        for number, kind in enumerate(CONFIGS if sharding == "none" else DIVIDED):
            again = sharding == "full" and kind in RECOMPUTED
            settled = msgspec.structs.replace(
                CONFIGS[kind], sharding=sharding, activations="recompute" if again else "keep"
            )
            found[kind].append(make_run(root / f"run-{number}", settled, folders, tables()))
            keep_judges(found[kind][-1], root, endpoint)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        for alone, *_ in found.values():
            with EventLog(alone.events_path) as log:
                assert work(alone, log, Never()) == 0, events(alone)[-1]
    home = make_run(roots[1] / "home", CONFIGS["rloo"], folders, {})
    assert together(*roots[1:], home=home) == 0
    return found


@pytest.fixture(scope="module")
def others_divided(
    tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path], endpoint: ChatFake
) -> dict[str, list[RunDir]]:
    """The other configurations with weights divided."""
    folders = {**folders, "judge near": folders["policy"]}
    root = tmp_path_factory.mktemp("others")
    found = {}
    for kind in [kind for kind in CONFIGS if kind not in DIVIDED]:
        config = msgspec.structs.replace(CONFIGS[kind], sharding="full")
        found[kind] = [make_run(root / f"run-{kind}", config, folders, tables())]
        keep_judges(found[kind][0], root, endpoint)
    home = make_run(root / "home", CONFIGS["rloo"], folders, {})
    assert together(root, home=home) == 0
    return found


@pytest.mark.parametrize("kind", CONFIGS)
def test_two_processes_train_what_one_trains(trained: dict[str, list[RunDir]], kind: str) -> None:
    assert not list(trained[kind][1].path.glob("checkpoints/*/shard-*.safetensors"))
    compared(trained[kind][:2])


def test_one_of_two_processes_asks_an_endpoint_for_both(
    trained: dict[str, list[RunDir]], endpoint: ChatFake
) -> None:
    """One run asked each question once, and the other the same questions once."""
    assert len(trained["rloo, judges"]) == 2
    assert set(Counter(json.dumps(asked) for asked in endpoint.asked).values()) == {2}


@pytest.mark.parametrize("kind", DIVIDED)
def test_so_do_two_that_divide_the_weights(trained: dict[str, list[RunDir]], kind: str) -> None:
    divided(trained[kind][2])
    compared(trained[kind][::2])


@pytest.mark.slow
@pytest.mark.long
def test_so_do_the_other_algorithms(
    trained: dict[str, list[RunDir]], others_divided: dict[str, list[RunDir]]
) -> None:
    for kind, (run,) in others_divided.items():
        divided(run)
        compared([trained[kind][0], run])


def divided(run: RunDir) -> None:
    """That each process has written a part of its weights, and neither has all of one that can be cut."""
    parts = [load_file(path) for path in sorted(run.path.glob("checkpoints/*/shard-*.safetensors"))]
    assert len(parts) == 2
    cut = [(parts[0][name], parts[1][name]) for name in parts[0] if name in parts[1] and ".layers." in name]
    assert len(cut) > 5
    assert all(0 <= len(one) - len(other) <= 1 for one, other in cut)


def compared(runs: list[RunDir]) -> None:
    """That two runs have said and made the same, but for rounding."""
    for run in runs:
        assert isinstance(events(run)[-1], Finished)
        assert not list(run.ranks_path.glob("[0-9]*"))
    one, two = (figures(events(run)) for run in runs)
    assert one.keys() == two.keys()
    for key, value in one.items():
        other = two[key]
        same = (
            value == other
            if None in (value, other)
            else math.isclose(value, other, rel_tol=1e-4, abs_tol=1e-5)
        )
        assert same, (key, value, other)
    weights = [load_file(run.path / "model" / "model.safetensors") for run in runs]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind, config in CONFIGS.items() if hasattr(config, "trace_every")])
def test_rollouts_and_traces_are_those_of_one_process(trained: dict[str, list[RunDir]], kind: str) -> None:
    for folder in ("outputs", "traces"):
        one, two = (
            [pq.read_table(path).to_pylist() for path in sorted((run.path / folder).glob("*.parquet"))]
            for run in trained[kind][:2]
        )
        assert len(one) == len(two) > 0
        for row, other in zip(itertools.chain(*one), itertools.chain(*two), strict=True):
            for name, value in row.items():
                near = (
                    pytest.approx(other[name], rel=1e-4, abs=1e-5)
                    if isinstance(value, float)
                    else other[name]
                )
                assert name == "components" or value == near, (folder, name)


@pytest.mark.slow
def test_a_run_goes_on_in_two_one_and_two_processes(tmp_path: Path, folders: dict[str, Path]) -> None:
    """Divided weights are put together, and divided again; the result is that of one process."""
    config = PPOConfig(**{**POLICY, "critic": "shared", "tuning": "full", "steps": 3}, checkpoint_every=1)
    alone, moved = (
        make_run(tmp_path / name / "run-0", msgspec.structs.replace(config, sharding=way), folders, tables())
        for name, way in (("alone", "none"), ("moved", "full"))
    )
    with EventLog(alone.events_path) as log:
        assert work(alone, log, Never()) == 0
    moved.pause_path.touch()
    assert together(moved.path.parent, home=moved) != 0
    assert events(moved)[-1] == Stopped(paused=True)
    assert len(list(moved.checkpoint_dir(1).glob("shard-*"))) == 2
    with EventLog(moved.events_path) as log:
        work(moved, log, Never())
    assert events(moved)[-1] == Stopped(paused=True)
    assert not list(moved.checkpoint_dir(2).glob("shard-*"))
    moved.pause_path.unlink()
    assert together(moved.path.parent, home=moved) == 0
    one, other = (load_file(run.path / "model" / "model.safetensors") for run in (alone, moved))
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], atol=1e-5, rtol=0)


def ranks_of(process: launch.Process) -> list[psutil.Process]:
    """The workers that torchrun has started, the first rank first."""
    children = psutil.Process(process.pid).children(recursive=True)
    found = [child for child in children if "engine.worker" in child.cmdline()]
    return sorted(found, key=lambda child: child.environ()["RANK"])


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_killed_rank_ends_the_run_and_it_resumes_in_another_number(
    tmp_path: Path, folders: dict[str, Path], rank: int
) -> None:
    config = RLOOConfig(**{**POLICY, **ENDLESS}, sharding="full" if rank else "none")
    run = make_run(tmp_path / "run", config, folders, tables())
    process = started(run, 2)
    until_steps(run, 2)
    ranks = ranks_of(process)
    ranks[rank].send_signal(signal.SIGKILL)
    said = until_ended(run, process, 30)
    psutil.wait_procs(ranks, timeout=30)
    assert not any(one.is_running() for one in ranks)
    assert not only(said, Finished)
    if rank:
        assert isinstance(said[-1], Failed)
        assert "Another process of this run has ended" in said[-1].reason
    again = started(run, 1)
    until_steps(run, max(event.step for event in only(said, Metrics)) + 1, len(said))
    launch.request_pause(run)
    said = until_ended(run, again, 30)
    assert said[-1] == Stopped(paused=True)
    begun = only(said, Started)[-1].resumed_from_step
    assert begun is not None
    assert begun > 0


@pytest.mark.slow
def test_several_processes_stop_and_pause_when_they_are_asked(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    run = make_run(tmp_path / "run", PPOConfig(**{**POLICY, **ENDLESS}), folders, tables())
    process = started(run, 2)
    until_steps(run, 1)
    launch.request_stop(run)
    said = until_ended(run, process, 30)
    assert said[-1] == Stopped()
    run.stop_path.unlink()
    again = started(run, 2)
    until_steps(run, max(event.step for event in only(said, Metrics)) + 1, len(said))
    launch.request_pause(run)
    said = until_ended(run, again, 30)
    assert said[-1] == Stopped(paused=True)
    assert run.latest_checkpoint() == run.checkpoint_dir(max(event.step for event in only(said, Metrics)))


@pytest.mark.slow
def test_what_another_process_fails_of_is_told(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A function that fails on the prompts of the second process alone."""
    (tmp_path / "odd_reward.py").write_text(
        "import os\n"
        "def score(prompt, response):\n"
        "    if os.environ.get('RANK') == '1':\n"
        "        raise ValueError('no more')\n"
        "    return 1.0\n"
    )
    config = RLOOConfig(**{**POLICY, "reward_model": "", "rewards": ("odd_reward:score",)})
    run = make_run(tmp_path / "run", config, {"policy": folders["policy"]}, tables())
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        process = started(run, 2)
    said = until_ended(run, process, 60)
    assert isinstance(said[-1], Failed)
    assert said[-1].reason.startswith("Process 1 of the run: ")
    assert "no more" in said[-1].reason


def test_more_processes_than_prompts_are_refused() -> None:
    with pytest.raises(UsageError, match="devices is 4 and a step has 3 prompts"):
        PPOConfig(**POLICY, devices=4)
    with pytest.raises(UsageError, match="one process fits a head on a frozen trunk"):
        build(RewardConfig, {"name": "r", "tuning": "frozen", "devices": "2"})


def test_all_devices_are_the_gpus_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,3")
    assert launch.gpus() == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launch.gpus() == 0


def test_the_command_keeps_what_the_worker_is_started_with(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RLOOConfig(**POLICY), {}, {})
    assert launch.together(launch.WORKER, run, 1) == list(launch.WORKER)
    command = launch.together(launch.WORKER, run, 2)
    assert command[:2] == [sys.executable, "-P"]
    assert command[-2:] == ["-m", "engine.worker"]
