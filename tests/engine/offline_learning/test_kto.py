"""KTO: which responses are desirable, and the KL that it reckons from."""

from pathlib import Path

import msgspec
import pytest

from engine.errors import UsageError
from engine.offline_learning import kto
from engine.protocol.configs import (
    KTOConfig,
)
from engine.protocol.events import Metrics
from tests.engine.offline_learning.jobs import Job
from tests.engine.training.runs import make_run, only, rankings


def test_kto_takes_winners_and_losers_and_leaves_out_what_is_neither(ppo_models: dict[str, Path]) -> None:
    records = rankings(1)[:4]
    ranks = {record["response_id"]: record["rank"] for record in records}
    method = kto.KTO(KTOConfig(name="k"))
    expected = {response_id: rank < 2.5 for response_id, rank in ranks.items()}
    assert method.labels(records) == expected
    three = [{**record, "rank": place} for place, record in enumerate(records[:3], start=1)]
    assert list(method.labels(three).values()) == [True, False]  # the one in the middle won one and lost one
    rated = [{**record, "rating": float(5 - record["rank"])} for record in records]
    by_rating = kto.KTO(KTOConfig(name="k", labels="ratings", threshold=3.0))
    assert by_rating.labels(rated) == {response_id: 5 - rank >= 3 for response_id, rank in ranks.items()}


def test_kto_reckons_from_responses_to_other_prompts_whatever_the_micro_batches(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    values = []
    for microbatch in (1, 4):
        job = Job(tmp_path / str(microbatch), ppo_models, "kto", microbatch=microbatch)
        values.append([m.values for m in only(job.events(), Metrics)])
    for one, other in zip(*values, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name] == pytest.approx(other[name], abs=2e-3), name
    last = values[0][-1]
    assert values[0][0]["heldout/loss"] == pytest.approx(0.5, abs=1e-5)  # r = z = 0 before the first step
    assert last["heldout/accuracy"] > 0.6  # type: ignore[operator]
    assert last["heldout/margin"] > 0  # type: ignore[operator]


def test_kto_needs_two_prompts_and_both_kinds(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    job = Job(tmp_path / "one", ppo_models, "kto", holdout=0.0)
    job.run = make_run(tmp_path / "single", job.config, ppo_models, {"rankings": rankings(1)})
    with pytest.raises(UsageError, match="needs two prompts to learn on"):
        job.events()
    rated = [{**row, "rating": 1.0} for row in rankings(4)]
    config = msgspec.structs.replace(job.config, labels="ratings")
    job.config, job.run = config, make_run(tmp_path / "good", config, ppo_models, {"rankings": rated})
    with pytest.raises(UsageError, match="all 16 are desirable; set threshold"):
        job.events()
