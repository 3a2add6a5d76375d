"""The head that learns while a person ranks and the one that a job trains are one and the same."""

import random
from pathlib import Path

import numpy as np
import pytest

from engine.protocol.configs import RewardConfig
from engine.protocol.rundir import Inputs, ModelRef, RunDir
from engine.reward_learning.frozen.fit import run_frozen
from engine.scoring.head import RewardHead
from storage import judgements
from storage.store import Store
from storage.transfer import snapshots
from tests.storage.builders import add_prompt, add_responses, judge
from workbench.services import live_fit


@pytest.fixture
def store() -> Store:
    """Twelve prompts that three people have ranked, with ties and without agreeing; one has but ties."""
    opened = Store.open(":memory:")
    draw = random.Random(3)
    for number in range(12):
        prompt = add_prompt(opened, f"say {number}")
        texts = ["".join(draw.choices("ab", k=6)) + str(n) for n in range(4)]
        found = add_responses(opened, prompt, *texts)
        for annotator in ("ana", "ben", "cy"):
            worth = {
                r: text.count("a") + draw.choice((0, 0, 1)) for r, text in zip(found, texts, strict=True)
            }
            worth = dict.fromkeys(worth, 1) if number == 5 else worth
            judge(opened, prompt, {r: 1 + sum(w > own for w in worth.values()) for r, own in worth.items()},
                  annotator)  # fmt: skip
    return opened


def test_live_and_trained_heads_are_equal(store: Store, tmp_path: Path, tiny_model: Path) -> None:
    config = RewardConfig(name="r", policy="tiny", holdout=0.0, dtype="float32", device="cpu")
    run = RunDir.create(tmp_path / "run", config)
    folder = run.path / "inputs"
    folder.mkdir()
    snapshots.write_rankings(store, folder / "rankings.parquet")
    snapshots.write_responses(store, folder / "responses.parquet")
    run.write_inputs(
        Inputs(
            models={"policy": ModelRef(name="tiny", folder=str(tiny_model))},
            tables={name: Path("inputs") / f"{name}.parquet" for name in ("rankings", "responses")},
        )
    )
    list(run_frozen(config, run, tiny_model))
    trained = RewardHead.load(run.path / "model")
    # Responses that nobody has judged yet, which the live fit looks at too, do not move it.
    waiting = judgements.least_judged(store, limit=50)
    live = live_fit.fit([run.path / "features"], judgements.votes(store), waiting).head
    for name in ("weight", "bias", "centre", "scale"):
        np.testing.assert_allclose(getattr(live, name), getattr(trained, name), rtol=1e-3, atol=1e-5)
    assert live.ensemble_weight is not None
    assert trained.ensemble_weight is not None
    np.testing.assert_allclose(live.ensemble_weight, trained.ensemble_weight, rtol=1e-2, atol=1e-4)
