"""Steps from judgements to the heat line on the real language model: trained, exported to ONNX, scored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.protocol.configs import ExportConfig, ProcessRewardConfig
from engine.steps import step_ends
from storage import artifacts, steps
from storage.step_records import NewStepJudgement
from tests.storage.builders import add_prompt, add_responses
from workbench.services.workspace import Workspace
from workbench.settings import load_settings

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]
GOOD = (
    "A dog has four legs.", "Paris is the capital of France.", "Water boils when it is hot enough.",
    "The sun rises in the east.", "Two and two are four.", "Birds can fly because they have wings.",
    "Snow is cold and white.", "A week has seven days.",
)  # fmt: skip
PROMPTS = 24


def answer(luck: random.Random) -> tuple[str, tuple[int, ...]]:
    """Three lines, one of them no words at all, and whether each is good."""
    lines = luck.sample(GOOD, 3)
    wrong = luck.randrange(3)
    lines[wrong] = " ".join("".join(luck.choices("bcdfghjklmnpqrstvwxz", k=5)) for _ in range(5))
    return "\n".join(lines), tuple(-1 if n == wrong else 1 for n in range(3))


@pytest.fixture(scope="module")
def stepped(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A store of judged steps, in which the process reward model was trained and exported."""
    folder = tmp_path_factory.mktemp("steps")
    with Workspace.open(load_settings(db=str(folder / "steps.duckdb"))) as workspace:
        luck, store = random.Random(3), workspace.store
        for number in range(PROMPTS):
            text, labels = answer(luck)
            (response,) = add_responses(
                store, add_prompt(store, f"Tell me three things, part {number}."), text
            )
            ends = tuple(step_ends(text))
            steps.record(store, NewStepJudgement(response, "ana", "\n", ends, labels))
        jobs = workspace.jobs
        train = ProcessRewardConfig(name="steps", policy="smollm2", device="cpu", dtype="float32")
        for kind, config in (
            ("process_reward", train),
            ("export", ExportConfig(reward_model="steps", samples=12, int8=False, device="cpu")),
        ):
            row = jobs.wait(jobs.submit(kind, config))
            assert row.status == "done", (kind, row.reason, row.stderr_tail)
        yield workspace


def test_steps_of_prompts_never_seen_are_told_apart(stepped: Workspace) -> None:
    (run,) = [row for row in stepped.jobs.list() if row.kind == "process_reward"]
    last = {name: points[-1][1] for name, points in stepped.jobs.metrics(run.run_id).items()}
    assert last["heldout/accuracy"] > 0.8
    assert last["heldout/accuracy"] > last["heldout/majority"]
    assert last["heldout/log_loss"] < 0.5


def test_the_export_scores_steps_as_torch_did(stepped: Workspace) -> None:
    """The heat line's score of every step is the one that the training stored, read by another program."""
    store = stepped.store
    model = artifacts.reward_model(store, "steps")
    scorer = stepped.scoring.scorer("steps", "fp32")
    rows = store.rows(
        "SELECT r.response_id, p.text, r.text FROM responses r JOIN prompts p USING (prompt_id) ORDER BY 1"
    )
    for response, prompt, text in rows[:6]:
        (scored,) = scorer.score([{"role": "user", "content": prompt}], [text])
        assert scored.by_step
        stored = steps.scores(store, response, model.reward_model_id)
        assert len(stored) == 3
        # Every token has its step's score: runs of equal ones, in order.
        seen = list(dict.fromkeys(round(score, 4) for score in scored.token_scores))
        assert seen == pytest.approx([step.score for step in stored], abs=2e-3)
        assert scored.score == pytest.approx(min(step.score for step in stored), abs=2e-3)
    (apart,) = store.rows(
        "SELECT avg(s.score) FILTER (l.label = 1) - avg(s.score) FILTER (l.label = -1) FROM step_scores s "
        "JOIN step_labels l USING (response_id, step)"
    )[0]
    assert apart > 2  # log-odds


def test_a_new_text_is_scored_step_by_step(stepped: Workspace) -> None:
    text = "Snow is cold and white.\nxkq vbtrn qqwzl plmkx zzvtr\nA dog has four legs."
    prompt = [{"role": "user", "content": "Tell me three things, please."}]
    (scored,) = stepped.scoring.scorer("steps", "fp32").score(prompt, [text])
    first, middle, last = dict.fromkeys(round(score, 4) for score in scored.token_scores)
    assert middle < 0 < min(first, last)
    assert scored.score == pytest.approx(middle, abs=1e-3)
