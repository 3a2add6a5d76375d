"""A study in use: annotators in processes of their own, readers beside them, a training in between.

Nothing that was acknowledged is lost, nothing is judged twice, nobody learns whose answer it is, and no
reader meets an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.protocol.configs import PPOConfig
from storage import judgements
from storage.share.sharing import share
from tests.workbench.services.job_helpers import add_prompts
from tests.workbench.services.test_serving import Served
from workbench.services.runs.jobs import Jobs

ROOT = Path(__file__).parents[3]
SECONDS = float(os.environ.get("WORKBENCH_TEST_SECONDS", "600"))
ANNOTATE = """
import json, random, sys, time
from pathlib import Path
from storage.store import Store
from workbench.services.serving.guest import CounterClient, GuestJudging
at, token, seconds, seed = sys.argv[1:]
until, chance = time.monotonic() + float(seconds), random.Random(seed)
class Listening(CounterClient):
    def _sent(self, line):
        answer = super()._sent(line)
        assert b"policy-" not in answer, answer
        return answer
with Store.open(":memory:") as own:
    judging = GuestJudging(own, Listening(Path(at), token))
    while time.monotonic() < until:
        item = judging.resume("") or judging.next_item("")
        if item is None:
            break
        draft = item.draft
        for response in chance.sample(draft.responses, len(draft.responses)):
            if draft.rank(response) is None:
                draft = draft.place_next(response)
                judging.keep(item, "", draft)
        made = judging.submit(item, "", draft, seconds=1.0)
        print(json.dumps([made[0], item.prompt_id, draft.ranks()]), flush=True)
        if chance.random() < 0.1:
            back = judging.undo("")
            print(json.dumps([None, back.prompt_id, None]), flush=True)
"""
READ = """
import json, sys, time
from pathlib import Path
import workbench
from storage.errors import LockedError
from storage.share.remote import RemoteStore
path, seconds, again = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
until, asked, longest, judged = time.monotonic() + seconds, 0, 0.0, 0
questions = ("SELECT * FROM run_summary", "SELECT count(*), max(step) FROM metrics",
    "FROM preference_pairs LIMIT 500", "SELECT * FROM responses ORDER BY created_at DESC LIMIT 100",
    "SELECT count(*) FROM token_traces")
while time.monotonic() < until:
    with RemoteStore(path, LockedError("held")) as store, workbench.connect(path) as db:
        for question in questions:
            begun = time.monotonic()
            rows, table = store.rows(question), db.arrow(question)
            longest, asked = max(longest, time.monotonic() - begun), asked + 2
        now = store.rows("SELECT count(*) FROM judgements")[0][0]
        assert now >= judged, (now, judged)
        judged = now
    if not again:
        break
print(json.dumps([asked, longest, judged]), flush=True)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@contextmanager
def training(served: Served, policy: Path, reward: Path) -> Iterator[None]:
    """A PPO that runs as long as the block, followed as a workbench follows it."""
    add_prompts(served.store, 3)
    served.store.write("UPDATE artifacts SET path = ? WHERE name = 'rm'", [str(reward)])
    jobs, ended = Jobs(served.store), threading.Event()
    config = PPOConfig(
        name="policy-learned", policy=str(policy), reward_model="rm", dtype="float32", device="cpu", seed=3,
        steps=10_000, prompts_per_step=2, samples=2, max_new_tokens=6, epochs=1, checkpoint_every=500,
        trace_every=5,
    )  # fmt: skip
    run_id = jobs.submit("ppo", config)
    failed: list[BaseException] = []

    def follow() -> None:
        try:
            while not ended.wait(0.1):
                jobs.pump()
        except BaseException as error:
            failed.append(error)

    following = threading.Thread(target=follow)
    following.start()
    try:
        yield
        row = jobs.show(run_id)
        assert row.status == "running", (row.status, row.reason, row.stderr_tail)
        (steps,) = served.store.row("SELECT max(step) FROM metrics WHERE run_id = $r", {"r": run_id}) or (0,)
        print(f"{steps} steps of PPO meanwhile")
        assert steps > 0
    finally:
        ended.set()
        following.join()
        jobs.stop(run_id)
        jobs.wait(run_id)
    assert failed == []


def use(folder: Path, people: int, seconds: float, prompts: int, readers: int, models: Any = None) -> None:
    """People judge at once, one at two terminals; one is killed.  Others read."""
    names = tuple(f"person-{number}" for number in range(people))
    served = Served(folder, names, prompts)
    serving = share(served.store)
    try:
        if models is None:
            told, read = work(served, names, seconds, readers, again=False)
        else:
            with training(served, *models):
                told, read = work(served, names, seconds, readers, again=True)
        check(served, told, min(prompts, 100))
        for line in read:
            asked, longest, judged = json.loads(line)
            print(f"{asked} questions, the longest pair {longest * 1000:.0f} ms, {judged} judgements seen")
            assert asked > 0
    finally:
        serving.close()
        served.close()


def work(
    served: Served, names: tuple[str, ...], seconds: float, readers: int, *, again: bool
) -> tuple[dict[str, list[str]], list[str]]:
    """What each person was told was recorded, and what each reader says at its end."""
    terminals = [*names, names[0]]
    running = [
        started(ANNOTATE, served.counter.path, served.tokens[name], seconds, number)
        for number, name in enumerate(terminals)
    ]
    reading = [started(READ, served.store.path, seconds, "again" * again) for _ in range(readers)]
    assert running[1].stdout is not None
    first = running[1].stdout.readline()
    running[1].kill()
    said = [process.communicate(timeout=seconds + 200)[0].splitlines() for process in running]
    said[1].insert(0, first)
    assert [process.returncode for process in running] == [0, -9, *[0] * (len(running) - 2)]
    read = [process.communicate(timeout=seconds + 200)[0] for process in reading]
    assert [process.returncode for process in reading] == [0] * readers
    told: dict[str, list[str]] = {}
    for name, lines in zip(terminals, said, strict=True):
        told.setdefault(name, []).extend(lines)
    return told, read


def check(served: Served, told: dict[str, list[str]], least: int) -> None:
    """Every acknowledged judgement stands as it was said, and no prompt was judged twice by one person."""
    acknowledged = [(name, json.loads(line)) for name, lines in told.items() for line in lines]
    stored = [(name, *said) for name, said in acknowledged if said[0] is not None]
    print(f"{len(stored)} judgements acknowledged")
    assert len(stored) >= least
    for name, judgement, prompt, ranks in stored:
        found = judgements.get(served.store, judgement)
        assert (found.annotator, found.prompt_id) == (name, prompt)
        assert {each.response_id: each.rank for each in found.items} == ranks
    assert [key for key, count in Tally(served.judged()).items() if count > 1] == []


def test_three_annotators_and_a_reader_at_once(tmp_path: Path) -> None:
    use(tmp_path, people=3, seconds=60.0, prompts=6, readers=1)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1500)
def test_eight_annotators_for_ten_minutes_beside_a_training_and_four_readers(
    tmp_path: Path, tiny_model: Path, tiny_reward: Path
) -> None:
    pytest.importorskip("torch")
    models = (tiny_model, tiny_reward)
    use(tmp_path, people=8, seconds=SECONDS, prompts=1500, readers=4, models=models)
