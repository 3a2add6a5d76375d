"""The whole loop on the real language model, small, every stage a process; then plain transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from workbench.services.demo import Demo, DemoPlan, demo_prompts
from workbench.services.workspace import Workspace
from workbench.settings import load_settings

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]
SMALL = DemoPlan()
replace = msgspec.structs.replace
SMALL = replace(
    SMALL,
    generate=replace(SMALL.generate, samples=2, max_new_tokens=8),
    reward=replace(SMALL.reward, epochs=1, batch_prompts=8),
    export=replace(SMALL.export, samples=16, int8=False),  # int8 takes as long as all else: below
    ppo=replace(
        SMALL.ppo,
        steps=2,
        prompts_per_step=2,
        samples=2,
        max_new_tokens=8,
        epochs=1,
        minibatches=1,
        trace_every=1,
    ),
)


@pytest.fixture(scope="module")
def demo(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    workspace = Workspace.open(load_settings(db=str(tmp_path_factory.mktemp("loop") / "loop.duckdb")))
    demo = Demo(workspace, SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.services.demo.demo_prompts", lambda: demo_prompts()[::2])
        for _ in demo.run():
            pass
    yield demo
    workspace.close()


@pytest.fixture(scope="module")
def looped(demo: Demo) -> Workspace:
    return demo.workspace


def test_the_table_is_whole_and_recomputable(demo: Demo, looped: Workspace) -> None:
    table = demo.table()
    assert table.onnx["fp32"]["max_difference"] < 1e-3
    assert table.onnx["fp32"]["kendall_tau"] > 0.99
    assert table.kl is not None
    assert abs(table.kl) < table.kl_bound
    (mean,) = looped.store.rows(
        "SELECT avg(score) FROM response_scores JOIN responses USING (response_id) WHERE policy = ?",
        [table.policy_after],
    )[0]
    assert mean == pytest.approx(table.score_after)


def test_plain_transformers_gives_the_same_scores(looped: Workspace) -> None:
    """The saved folder is one that other tools load: their score is the scorer's."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    (model_row,) = looped.library.reward_models()
    rows = looped.store.rows(
        "SELECT p.messages, r.text, s.score FROM response_scores s JOIN responses r USING (response_id) "
        "JOIN prompts p ON p.prompt_id = r.prompt_id "
        "WHERE r.finish_reason = 'stop' AND s.backend = 'onnx-fp32' LIMIT 4"
    )
    model = AutoModelForSequenceClassification.from_pretrained(model_row.folder, dtype=torch.float32).eval()
    tokeniser = AutoTokenizer.from_pretrained(model_row.folder)
    assert rows
    for messages, text, score in rows:
        chat = [*json.loads(messages), {"role": "assistant", "content": text}]
        ids = tokeniser.apply_chat_template(chat, return_dict=True, return_tensors="pt")["input_ids"]
        end = int((ids[0] == tokeniser.eos_token_id).nonzero()[-1]) + 1  # the template adds a line break
        with torch.no_grad():
            plain = float(model(ids[:, :end]).logits)
        assert plain == pytest.approx(score, abs=1e-3)


def test_rollouts_have_their_token_traces(looped: Workspace) -> None:
    (tokens, rollouts, steps) = looped.store.rows(
        "SELECT count(*), (SELECT sum(tokens) FROM rollouts), count(DISTINCT step) FROM token_traces"
    )[0]
    assert tokens == rollouts
    assert steps == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_int8_orders_responses_as_the_model_does(demo: Demo, looped: Workspace) -> None:
    config = replace(
        SMALL.export, int8=True, samples=32, tau_int8=0.8, reward_model=demo.table().reward_model
    )
    ended = looped.jobs.wait(looped.jobs.submit("export", config))
    assert ended.status == "done", ended.reason
