"""What must stay true of the house itself: its rooms, its imports, what it never loads."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("workbench", "engine", "storage")
HEAVY = ("torch", "transformers", "polars", "pyarrow", "onnxruntime")
CALLED_FROM_OUTSIDE = {
    "cross_validate": "benchmarks",
    "presets_table": "docs/formats.md is written from it",
    "roles_table": "docs/formats.md is written from it",
    "formats_table": "docs/formats.md is written from it",
    "readinto": "io.RawIOBase",
    "handleError": "logging.Handler",
    "handle_error": "socketserver.BaseServer",
    "_fatal_error": "textual.app.App",
    "_update_focus_styles": "textual.screen.Screen",
    "update_suggestion": "textual.widgets.TextArea",
    "filter_paths": "textual.widgets.DirectoryTree",
    "discover": "textual.command.Provider",
}
"""Names that nothing in the house calls, and who does."""
FIRST_FRAME = """
import asyncio, json, sys
from engine.protocol import plugins
from storage import plugins as file_plugins
from workbench.settings import load_settings
from workbench.start import open_in_thread
from workbench.app import WorkbenchApp

async def main():
    app = WorkbenchApp(open_in_thread(load_settings(db=sys.argv[1])).result)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.opened()
        await pilot.pause()
        looked = [m.__name__ for m in (plugins, file_plugins) if m.plugged.cache_info().currsize]
        print(json.dumps([m for m in {heavy!r} if m in sys.modules] + looked))

asyncio.run(main())
"""


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_top_level_holds_only_the_named_rooms() -> None:
    listed = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    allowed = {
        *("workbench", "engine", "storage", "tests", "pyproject.toml", "README.md"),
        *("docs", "Makefile", ".ci", "LICENSE", "CHANGELOG.md", ".gitignore"),
        *("CONTRIBUTING.md", "mkdocs.yml", ".pre-commit-config.yaml", ".github"),
    }
    assert set(listed.stdout.split()) <= allowed


@pytest.mark.parametrize("arguments", [["--help"], ["sql", "--help"], ["train", "ppo", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import json, sys\n"
        "from workbench.__main__ import main\n"
        f"sys.argv = ['workbench', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps([m for m in {(*HEAVY, 'duckdb', 'textual')!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.strip().splitlines()[-1]) == []


def test_first_frame_imports_nothing_heavy(tmp_path: Path) -> None:
    code = FIRST_FRAME.format(heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store.duckdb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.strip().splitlines()[-1]) == []


def test_nothing_is_unpickled_and_no_remote_code_is_trusted() -> None:
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                if any(
                    name.split(".")[0] in {"pickle", "cloudpickle", "dill", "joblib", "shelve"}
                    for name in names
                ):
                    found.append(f"{path}:{node.lineno} imports a pickle")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "torch.save"}:
                found.append(f"{path}:{node.lineno} {ast.unparse(node)}")
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert isinstance(node.value, ast.Constant)
                if node.value.value is not False:
                    found.append(f"{path}:{node.lineno} trusts remote code")
    assert not found, "\n".join(found)


def test_sql_text_lives_in_storage() -> None:
    """Screens and services call functions; they do not speak to the database themselves."""
    found = [path for path in (ROOT / "workbench").rglob("*.py") if ".execute(" in path.read_text()]
    assert found == []


def test_no_class_name_means_two_things() -> None:
    """Whoever searches for a class finds one."""
    places: dict[str, list[str]] = {}
    for path in sources():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_function_has_a_parameter_of_its_own_name() -> None:
    hidden = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(argument.arg == node.name for argument in (*node.args.args, *node.args.kwonlyargs))
    ]
    assert hidden == []


def test_a_widget_of_one_screen_lies_beside_it() -> None:
    """What stands in `widgets/` is a part of several screens, of all of them, or of another widget."""
    users: dict[str, set[str]] = {path.stem: set() for path in (ROOT / "workbench/widgets").glob("[a-z]*.py")}
    for path in (ROOT / "workbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workbench.widgets."):
                users[str(node.module).split(".")[2]].add(str(path.relative_to(ROOT / "workbench")))
    alone = {
        name
        for name, files in users.items()
        if len(files) < 2
        and not any(file.startswith("widgets/") or file.endswith("base.py") for file in files)
    }
    assert alone == set()


def test_functions_fit_on_a_screen_and_files_in_a_head() -> None:
    """Sixty lines a function, four hundred a file, tests too: what is longer is split by subject."""
    long = []
    for path in [*sources(), *sorted((ROOT / "tests").rglob("*.py"))]:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long.append(f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 60:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {lines} lines")
    assert long == []


def test_no_function_lives_for_its_tests_alone() -> None:
    """A name that stands nowhere but where it is defined is called by nobody, or by somebody outside."""
    texts = {path: path.read_text(encoding="utf-8") for path in sources()}
    words = Counter(word for text in texts.values() for word in re.findall(r"\w+", text))
    alone = {
        node.name
        for text in texts.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and words[node.name] == 1
        and not re.match(r"__|_?on_|action_|compose|watch_|validate_|render|get_", node.name)
        and not any(re.search(r"command|callback|\bon\(", ast.unparse(d)) for d in node.decorator_list)
    }
    assert alone - set(CALLED_FROM_OUTSIDE) == set()
    assert set(CALLED_FROM_OUTSIDE) - alone == set(), "these are used in the house, or gone"
