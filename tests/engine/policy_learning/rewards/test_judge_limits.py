"""Limits of judges as rewards: of a function's time, of what is paid, and how many processes ask."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from engine.endpoints.bill import Bill
from engine.errors import UsageError
from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning.preference_function import PreferenceFunction
from engine.policy_learning.rewards import judges
from engine.protocol.building import build
from engine.protocol.configs import NashMDConfig, OnlineDPOConfig
from engine.protocol.events import Metrics
from tests.engine.chat_serving import ChatFake
from tests.engine.policy_learning.jobs import Job
from tests.engine.policy_learning.judge_files import judging, opened, said
from tests.engine.training.runs import finished, only


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 4)


def test_a_function_that_hangs_gives_no_answer_and_the_next_question_a_fresh_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_judge.py").write_text(
        "import time\n"
        "def better(prompt, first, second, criterion):\n"
        "    print('chatter')\n"
        "    time.sleep(60 * ('hang' in first))\n"
        "    return float(len(first) > len(second))\n"
        "def wrong(prompt, first, second, criterion):\n"
        "    return 2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    slow = {"by": "function", "function": "slow_judge:better", "function_seconds": 0.5, "failed_share": 0.9}
    part = opened(tmp_path, **slow)
    judged = finished(part.judged(said("a", "bb", "hang")))
    assert judged.told["judge/cook/failed"].tolist() == [0.5, 0.5, 1.0]
    assert judged.scores.tolist() == [0.0, 1.0, 0.5]
    part.close()
    for name in ("2", "3"):
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match="slow_judge:wrong gave 2; it must give the probability"):
        finished(opened(tmp_path / "2", by="function", function="slow_judge:wrong").judged(said("a", "b")))
    with pytest.raises(UsageError, match="slow_judge:no is not a function"):
        finished(opened(tmp_path / "3", by="function", function="slow_judge:no").judged(said("a", "b")))


def test_a_preference_that_is_a_function_has_its_time_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_preference.py").write_text(
        "import time\n"
        "def better(prompt, first, second):\n"
        "    time.sleep(60 * ('hang' in first))\n"
        "    return float(len(first) > len(second))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    timed = PreferenceFunction("slow_preference:better", 0.5)
    assert timed.said("p", "aa", "b") == PreferenceFunction("slow_preference:better", 0).said("p", "aa", "b")
    with pytest.raises(UsageError, match=r"slow_preference:better took too long for a pair; raise function_"):
        timed.said("p", "hang", "b")
    settings = {"name": "x", "compare": "preference", "preference": "a:b", "function_seconds": "3"}
    assert build(NashMDConfig, settings).function_seconds == 3
    with pytest.raises(UsageError, match=r"function_seconds \(no function is asked\)"):
        build(OnlineDPOConfig, {"name": "x", "compare": "people", "function_seconds": "3"})


def test_a_budget_is_that_of_the_run_however_often_it_is_resumed(
    tmp_path: Path, ppo_models: dict[str, Path], fake: ChatFake
) -> None:
    priced: dict[str, Any] = {"price_in": 1e4, "failed_share": 0.95, "at_once": 1}  # a request costs 1
    whole = judging(fake, tmp_path, **priced)
    changes: dict[str, Any] = {"rewards": (f"judge:{whole}",), "steps": 2}
    first = Job(tmp_path / "a" / "run", ppo_models, "rloo", **changes)
    first.run.keep_file("judge cook", whole)
    first.run.pause_path.touch()
    first.events()
    spent = len(fake.asked)  # by the scale and the first step
    again = Job(tmp_path / "b" / "run", ppo_models, "rloo", **changes)
    again.run.keep_file("judge cook", judging(fake, tmp_path, **priced, budget=spent + 2.0))
    again.run.pause_path.touch()
    again.events()
    assert len(fake.asked) == 2 * spent
    again.run.pause_path.unlink()
    (second,) = only(again.events(), Metrics)
    assert len(fake.asked) == 2 * spent + 2
    assert second.values["judge/cook/failed"] > 0


def test_a_bill_counts_whole_lines_that_are_costs(tmp_path: Path) -> None:
    bill = Bill(tmp_path / "costs")
    assert bill.total() == 0
    for cost in (0.1, 0.2, 1e-9):
        bill.add(cost)
    assert bill.total() == pytest.approx(0.3 + 1e-9, abs=1e-15)
    with (tmp_path / "costs").open("ab") as file:
        file.write(b"nan\n-4\ninf\n\xff\n7")  # the last line was cut by a kill
    assert Bill(tmp_path / "costs").total() == pytest.approx(0.3 + 1e-9, abs=1e-15)


class Two:
    """Two processes as two threads: what each gathers is what both have."""

    world = 2

    def __init__(self, rank: int, queues: list[Any]) -> None:
        self.rank, self.main, self._queues = rank, rank == 0, queues

    def share(self, items: Any) -> Any:
        return list(items[self.rank :: 2])

    def gather(self, mine: Any, kind: Any) -> list[Any]:
        self._queues[1 - self.rank].put(mine)
        parts = [mine, self._queues[self.rank].get(timeout=30)]
        return parts if self.main else parts[::-1]

    def agreed(self, flag: bool) -> bool:
        return bool(self.gather(flag, bool)[0])


def test_one_process_asks_and_the_other_hears_that_it_lives(
    tmp_path: Path, fake: ChatFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, queues = threading.local(), [SimpleQueue(), SimpleQueue()]
    monkeypatch.setattr(judges, "BEAT", 0.0)
    monkeypatch.setattr(judges, "current", lambda: here.ranks)
    scores: dict[int, list[float]] = {}
    heard: Counter[int] = Counter()

    def work(rank: int) -> None:
        here.ranks = Two(rank, queues)
        part = opened(tmp_path / str(rank), by="endpoint", endpoint=fake.endpoint, policy="m")

        def judging() -> Any:
            judged = yield from part.judged(said("a", "bb", "ccc"))
            scores[rank] = judged.scores.tolist()

        heard[rank] = len(list(judging()))
        part.close()

    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    other = threading.Thread(target=work, args=(1,))
    other.start()
    work(0)
    other.join()
    assert len(fake.asked) == 6
    assert scores[0] == scores[1] == pytest.approx([0.5 + 0.25 / 0.9, 0.5, 0.5 - 0.25 / 0.9], abs=1e-4)
    assert heard[1] > 1  # which is what keeps it from giving up
    assert not list((tmp_path / "1").rglob("answers.sqlite"))
