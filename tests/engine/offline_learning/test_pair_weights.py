"""What a pair counts where several annotators have judged it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine.offline_learning import cpo, dpo, orpo, simpo
from engine.offline_learning.examples import (
    ExampleReader,
    consensus,
    implied_pairs,
)
from engine.offline_learning.loop import make_train_state
from engine.text import Tokeniser
from tests.engine.offline_learning.jobs import CONFIGS
from tests.engine.training.runs import rankings


def votes(*rankings_: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Rankings of the same three responses, one an annotator."""
    texts = [row["text"] for row in rankings(1)[:3]]
    messages = rankings(1)[0]["messages"]
    return [
        {"judgement_id": f"j{n}", "response_id": f"r{k}", "prompt_id": "p0", "messages": messages,
         "text": texts[k], "rank": rank}
        for n, ranks in enumerate(rankings_)
        for k, rank in enumerate(ranks)
    ]  # fmt: skip


def test_a_pair_counts_once_by_how_far_its_judgements_agree() -> None:
    records = votes((1, 2, 3), (1, 3, 2), (2, 2, 1), (1, 2, 3))
    assert consensus(records) == {
        ("r0", "r1"): pytest.approx(3 / 4),  # a tie is neither
        ("r0", "r2"): pytest.approx((3 - 1) / 4),
    }  # r1 and r2: two for each
    assert consensus(votes((1, 2, 3))) == dict.fromkeys(implied_pairs(votes((1, 2, 3))), 1.0)


@pytest.mark.parametrize("kind", ["dpo", "simpo", "cpo", "orpo"])
def test_weights_of_pairs_are_those_of_the_mean(ppo_models: dict[str, Path], kind: str) -> None:
    folder = ppo_models["policy"]
    config = msgspec.structs.replace(CONFIGS[kind], weights="consensus", tuning="full")
    method = {"dpo": dpo.DPO, "simpo": simpo.SimPO, "cpo": cpo.CPO, "orpo": orpo.ORPO}[kind](config)  # type: ignore[arg-type]
    policy = make_train_state(folder, config).policy
    records = votes((1, 2, 3), (1, 3, 2), (2, 2, 1), (1, 2, 3))
    reader = ExampleReader(Tokeniser.from_folder(folder), config)
    weights = consensus(records)
    whole = reader.example("p0", records, list(weights), weights=weights)
    assert whole is not None
    parts = [reader.example(f"p{n}", records, [pair]) for n, pair in enumerate(weights, start=1)]
    if isinstance(method, dpo.DPO):
        for one in (whole, *parts):
            assert one is not None
            method.known.sums[one.prompt_id] = torch.linspace(-9, -3, one.count)
    with torch.no_grad():
        found = float(method.loss_terms(policy, [whole]).loss)
        apart = [float(method.loss_terms(policy, [one]).loss) for one in parts if one is not None]
    expected = sum(w * x for w, x in zip(weights.values(), apart, strict=True)) / sum(weights.values())
    assert found == pytest.approx(expected, rel=1e-5)
