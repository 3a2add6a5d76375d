"""Several nodes train what one process trains: two `torchrun` agents, as two machines would have them."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest
import torch

from engine.elsewhere.host import Host, check_nodes
from engine.errors import UsageError
from engine.protocol import launch
from engine.protocol.configs import DPOConfig, GRPOConfig, RewardConfig, RLOOConfig
from engine.protocol.events import Finished, Metrics, Started, Stopped
from engine.protocol.launch import Nodes
from engine.protocol.log import EventLog
from engine.protocol.rundir import RunDir
from engine.worker import work
from tests.engine.elsewhere import cluster
from tests.engine.training.runs import make_run, only
from tests.engine.training.test_ranks import (
    ENDLESS,
    POLICY,
    STARTED,
    Never,
    _nothing_left_running,  # noqa: F401
    compared,
    events,
    started,
    tables,
    until_ended,
    until_steps,
)

TWO = Nodes(2, "lo")
SHARED = {"on": "cluster", "nodes": 2}


def on_two_nodes(run: RunDir, tmp_path: Path) -> launch.Process:
    """The run started by an `srun` that begins the command twice, as on two nodes."""
    commands = tmp_path / "commands"
    if not commands.exists():
        cluster.install(tmp_path / "jobs", commands)
    command = (str(commands / "srun"), "--nodes=2", *launch.WORKER)
    process = launch.spawn(run, command, (), 1, TWO)
    STARTED.append((run, process))
    return process


@pytest.mark.slow
def test_two_nodes_train_what_one_process_trains(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    config = GRPOConfig(**POLICY, **SHARED, minibatches=2, sharding="none")
    alone, both = (make_run(tmp_path / name, config, ppo_models, tables()) for name in ("alone", "both"))
    process = on_two_nodes(both, tmp_path)
    torch.set_num_threads(1)
    with EventLog(alone.events_path) as log:
        assert work(alone, log, Never()) == 0, events(alone)[-1]
    until_ended(both, process, 120)
    compared([alone, both])


def ranks_of(launcher: psutil.Process) -> list[psutil.Process]:
    """The workers on both nodes, the first rank first."""
    found = [each for each in launcher.children(recursive=True) if "RANK" in each.environ()]
    return sorted(found, key=lambda each: each.environ()["RANK"])


@pytest.mark.slow
@pytest.mark.parametrize("last", [True, False])
def test_a_killed_node_ends_the_run_and_it_resumes(
    last: bool, tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    config = RLOOConfig(**{**POLICY, **ENDLESS, **SHARED}, sharding="full" if last else "none")
    run = make_run(tmp_path / "run", config, ppo_models, tables())
    process = on_two_nodes(run, tmp_path)
    until_steps(run, 2)
    ranks = ranks_of(psutil.Process(process.pid))
    assert [rank.environ()["LOCAL_RANK"] for rank in ranks] == ["0", "0"]
    node = psutil.Process(ranks[1 if last else 0].ppid())
    assert "torch.distributed.run" in node.cmdline()
    for each in [*node.children(recursive=True), node]:
        each.kill()
    said = until_ended(run, process, 30)
    psutil.wait_procs(ranks, timeout=30)
    assert not any(one.is_running() for one in ranks)
    assert not only(said, Finished)
    again = on_two_nodes(run, tmp_path) if last else started(run, 1)
    until_steps(run, max(event.step for event in only(said, Metrics)) + 1, len(said))
    launch.request_pause(run)
    said = until_ended(run, again, 60)
    assert said[-1] == Stopped(paused=True)
    assert (only(said, Started)[-1].resumed_from_step or 0) > 0


def test_what_starts_several_nodes(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", RLOOConfig(**{**POLICY, **SHARED}))
    command = launch.together(("srun", *launch.WORKER), run, 1, TWO)
    assert command[:2] == ["srun", sys.executable]
    assert command[command.index("--nnodes") + 1] == "2"
    assert not any(part.startswith("--master") for part in command)
    eth = launch.shared_environment(run, 4, Nodes(2, "eth1"))
    assert (eth["GLOO_SOCKET_IFNAME"], eth["NCCL_SOCKET_IFNAME"]) == ("eth1", "eth1")
    check_nodes("a", Host(ssh="a", interface="eth1", launcher="srun --nodes={nodes}"), 2)
    check_nodes("a", Host(interface="eth1", slurm={}), 2)
    check_nodes("a", Host(ssh="a"), 1)
    for host, wanted in (
        (Host(ssh="a", interface="eth1", launcher="srun"), "says not how to start them"),
        (Host(slurm={}), "over which network"),
    ):
        with pytest.raises(UsageError, match=wanted):
            check_nodes("a", host, 2)
    with pytest.raises(UsageError, match="here is one machine"):
        RLOOConfig(**{**POLICY, "nodes": 2})
    with pytest.raises(UsageError, match="nodes is 2 with 2 processes each, and a step has 3 prompts"):
        RLOOConfig(**{**POLICY, **SHARED, "devices": 2})
    with pytest.raises(UsageError, match="nodes is 9"):
        RewardConfig(name="r", policy="p", nodes=9, on="cluster")
    assert DPOConfig(name="d", policy="p", **SHARED).machines == 2  # type: ignore[arg-type]
