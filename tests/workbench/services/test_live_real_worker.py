"""The live model behind a real frozen job of a tiny model, from the key to a score."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import judgements, policies, prompts, responses
from storage.records import JudgedItem, NewJudgement
from tests.fakes import tiny_model_folder
from workbench.services.workspace import Workspace
from workbench.settings import Settings


@pytest.mark.slow
def test_features_are_computed_exported_and_scored_live(tmp_path: Path) -> None:
    with Workspace.open(Settings(db=str(tmp_path / "store.duckdb"), annotator="ada")) as workspace:
        store = workspace.store
        policies.ensure(store, "tiny", model=str(tiny_model_folder(tmp_path)))
        chats = [[{"role": "user", "content": f"Question {number}?"}] for number in range(24)]
        for number, prompt in enumerate(prompts.add_many(store, chats, source="test")):
            ids = [responses.add(store, prompt, "tiny", f"answer {number} " + "!" * k) for k in range(3)]
            items = tuple(JudgedItem(response, rank=k + 1) for k, response in enumerate(ids))
            judgements.record(store, NewJudgement(prompt, "ada", "ranking", items))
        run_id = workspace.live.compute_features(workspace.jobs)
        assert workspace.jobs.wait(run_id).status == "done"
        state = workspace.live.refit()
        assert (state.base, state.judgements, state.without_features) == ("tiny", 24, 0)
        export = next(run.run_id for run in workspace.jobs.list() if run.kind == "export")
        assert workspace.jobs.wait(export).status == "done"
        (model,) = workspace.library.reward_models()
        assert workspace.live.fits(model)
        prompt = workspace.library.prompts()[0].prompt_id
        rows = workspace.library.responses(prompt)
        scorer = workspace.live.scorer(workspace.scoring, model.name, "fp32")
        scored = scorer.score(workspace.library.messages(prompt), [row.text for row in rows])
        spread = max(state.scores.values()) - min(state.scores.values())
        for row, found in zip(rows, scored, strict=True):
            assert found.uncertainty is not None
            assert abs(found.score - state.scores[row.response_id]) < 0.1 * spread
