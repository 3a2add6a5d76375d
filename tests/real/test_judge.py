"""The packaged model as a judge of real responses, by the probabilities of its verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.protocol.configs import JudgeConfig
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge
from workbench.services.reports.calibration import Calibrating
from workbench.services.runs.jobs import Jobs

pytestmark = [pytest.mark.real, pytest.mark.slow]

PAIRS = (
    ("What is the capital of France?", "The capital of France is Paris.", "asdf qwer zxcv"),
    ("Name a colour.", "Blue is a colour.", "zzzz zzzz zzzz zzzz"),
    ("How many legs has a dog?", "A dog has four legs.", "kjh kjh kjh"),
)


def test_the_packaged_model_judges_into_the_store(smollm2: Path, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.duckdb") as store:
        for prompt, good, bad in PAIRS:
            made = add_prompt(store, prompt)
            better, worse = add_responses(store, made, good, bad)
            judge(store, made, {better: 1, worse: 2})
        jobs = Jobs(store)
        settings = {"pairs": "judged", "device": "cpu", "disagreement": "mean"}
        row = jobs.wait(jobs.submit("judge", JudgeConfig(**settings)))  # type: ignore[arg-type]
        assert row.status == "done", (row.reason, row.stderr_tail)
        answers = store.rows("SELECT share, mass, tokens_in FROM judge_answers")
        assert len(answers) == 2 * len(PAIRS)
        assert all(0 < share < 1 and tokens > 100 for share, _, tokens in answers)
        assert all(mass > 0.05 for _, mass, _ in answers)  # it knows that a letter is asked for
        (found,) = Calibrating(store).all()
        assert (found.judge, found.shared) == ("ai:smollm2", len(PAIRS))
        assert row.summary["orders_disagree"] == round(found.figures["orders_disagree"].value, 4)
