"""`workbench judge ai` and `workbench report judge`: labels of an endpoint, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from storage.store import Store
from tests.engine.chat_serving import ChatFake
from tests.storage.builders import add_prompt, add_responses, judge
from tests.workbench.cli.shell import Shell


@pytest.fixture
def fake() -> Iterator[ChatFake]:
    server = ChatFake()
    yield server
    server.close()


def test_from_an_endpoint_to_its_calibration(tmp_path: Path, fake: ChatFake) -> None:
    shell = Shell(tmp_path)
    shell.environment |= {"MY_KEY": "secret-of-mine", "COLUMNS": "80"}
    with Store.open(tmp_path / "store.duckdb") as store:
        for number in range(6):
            found = add_responses(store, add_prompt(store, f"Question {number}?"), "short", "a longer one")
            order = found if number else found[::-1]
            judge(store, store.rows("SELECT max_by(prompt_id, rowid) FROM prompts")[0][0],
                  {response: place for place, response in enumerate(order, 1)})  # fmt: skip
    where = ("--by", "endpoint", "--endpoint", fake.endpoint, "--policy", "gpt-x", "--key-variable", "MY_KEY")
    assert "The work is done at" in shell("judge", "ai", *where, "--dry-run").stdout
    assert fake.asked == []
    told = cast("dict[str, Any]", shell.json("judge", "ai", *where))
    assert (told["summary"]["judgements"], told["status"]) == (6, "done")
    assert set(fake.keys) == {"Bearer secret-of-mine"}
    done = shell("report", "judge")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "“ai:gpt-x” agrees with people on 83%" in done.stdout
    (found,) = cast("list[dict[str, Any]]", shell.json("report", "judge", "gpt-x", "--criterion", "overall"))
    assert found["figures"]["agreement"]["n"] == 6
    assert found["confusion"] == [{"decided": True, "same": 5, "tie": 0, "other": 1}]
    said = shell("train", "reward", "--name", "r", "--annotator-kinds", "human", "--dry-run")
    assert "Left out: 6 of “ai:gpt-x”" in said.stderr
    said = shell("train", "reward", "--name", "r", "--annotator", "ai:gpt-x", "--dry-run")
    assert "“ai:gpt-x” agrees with people on 83%" in said.stderr
    wrong = shell("judge", "ai", "--by", "endpoint", "--endpoint", "nowhere")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "is not an address like" in wrong.stderr
    assert "secret-of-mine" not in done.stdout + done.stderr + str(told)
