"""A machine of the settings, and the command that speaks to an agent on it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.elsewhere.slurm import Options, check_options
from engine.errors import UsageError, WorkbenchError
from engine.files import write_atomic
from engine.protocol.rundir import RunDir
from engine.protocol.suggest import did_you_mean

NAME = re.compile(r"[\w.-]{1,64}\Z")
PYTHON = "workbench/.venv/bin/python"
"""Where it usually lies in the home folder of another machine."""
NODES = "{nodes}"
"""In a launcher: how many nodes the run has, on each of which it starts the command once."""
CONNECT_SECONDS = 20
SILENT_SECONDS = 60
"""After which a connection that says nothing is taken to be lost."""
OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"),
    *("-o", "ServerAliveInterval=15", "-o", f"ServerAliveCountMax={SILENT_SECONDS // 15}"),
)
"""Never a question to the person, who may not be there; the login's own keys and configuration count."""


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table `[hosts.NAME]` of the settings."""

    ssh: str = ""
    """What `ssh` takes: a host, `user@host`, or a name of ~/.ssh/config; empty where Slurm is asked here."""
    python: str = ""
    """The Python there that has the same version of the workbench; relative to the home folder."""
    folder: str = ".workbench-elsewhere"
    """Where its run directories lie; relative to the home folder."""
    launcher: str = ""
    """What stands before the worker's command there: `srun --gpus=1`, `systemd-run --user --scope`."""
    interface: str = ""
    """The network interface over which several nodes talk: `eth1`; on a network that is theirs alone."""
    slurm: Options | None = None
    """Options of `sbatch`, by their long names, for runs that are batch jobs."""

    @property
    def named(self) -> str:
        """As a sentence names it."""
        return self.ssh or "this machine"


def read_hosts(where: str, table: Any) -> dict[str, Host]:
    """The machines by name.  Raises UsageError: what is wrong in which of them."""
    example = '[hosts.gpu] with ssh = "ada@gpu.example.org"'
    if not isinstance(table, dict):
        raise UsageError(f"{where} must hold tables, as in {example}.")
    return {name: _host(f"{where[:-1]}.{name}]", name, values) for name, values in table.items()}


def _host(where: str, name: str, values: Any) -> Host:
    if not NAME.match(name):
        raise UsageError(f"{where}: a machine's name has letters, digits and . _ - alone.")
    try:
        host = msgspec.convert(values, Host)
    except msgspec.ValidationError as error:
        known = ", ".join(Host.__struct_fields__)
        raise UsageError(f"{where}: {error}; it takes {known}.") from None
    if host.slurm is not None:
        check_options(f"{where[:-1]}.slurm]", host.slurm)
    nowhere = not host.ssh and host.slurm is None
    if nowhere or host.ssh.startswith("-") or not host.ssh.isprintable() or " " in host.ssh:
        raise UsageError(f"{where}: ssh = “{host.ssh}” is not a host, user@host or a name of ~/.ssh/config.")
    if host.interface and not re.fullmatch(r"[\w.:-]{1,32}", host.interface):
        raise UsageError(f"{where}: interface = “{host.interface}” is no network interface, as eth1.")
    try:
        shlex.split(host.launcher)
    except ValueError as error:
        raise UsageError(f"{where}: launcher = “{host.launcher}” is no command: {error}.") from None
    return host


def find_host(hosts: Mapping[str, Host], name: str) -> Host:
    """A machine by name.  Raises UsageError with the near match."""
    if name in hosts:
        return hosts[name]
    if hosts:
        raise UsageError(f"The settings name no machine “{name}”. {did_you_mean(name, tuple(hosts))}")
    raise UsageError(
        f"The settings name no machine “{name}”; name it in workbench.toml: "
        f'[hosts.{name}] with ssh = "user@host".'
    )


def check_nodes(name: str, host: Host, machines: int) -> None:
    """That a machine of the settings can start a run on so many nodes.  Raises UsageError."""
    if machines == 1:
        return
    if host.slurm is None and NODES not in host.launcher:
        raise UsageError(
            f"nodes is {machines}, and [hosts.{name}] says not how to start them: give it a table slurm, or "
            f'launcher = "srun --nodes={NODES} --ntasks-per-node=1".'
        )
    if not host.interface:
        raise UsageError(
            f"nodes is {machines}, and [hosts.{name}] says not over which network they talk: give it "
            'interface = "eth1", one that nobody else can reach.'
        )


def write_host(run: RunDir, host: Host) -> None:
    """Keep with a run where it computes."""
    write_atomic(_path(run), msgspec.json.encode(host) + b"\n")


def host_of(run: RunDir) -> Host | None:
    """Where a run computes; None: here.  Raises WorkbenchError when the file is broken."""
    try:
        return msgspec.json.decode(_path(run).read_bytes(), type=Host)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise WorkbenchError(f"{_path(run)} cannot be read: {error}.") from None


def _path(run: RunDir) -> Path:
    return run.path / "host.json"


def agent_command(host: Host) -> list[str]:
    """The local command whose standard input and output lead to an agent on the machine."""
    if not host.ssh:
        # In a session of its own: it outlives a carrier that is killed, and ends the job of a run that
        # was to stop.
        python = host.python or sys.executable
        return ["setsid", "--fork", str(Path(python).expanduser()), "-P", "-m", "engine.elsewhere.agent"]
    python = host.python.removeprefix("~/") or PYTHON
    return ["ssh", *OPTIONS, "--", host.ssh, f"exec {shlex.quote(python)} -P -m engine.elsewhere.agent"]
