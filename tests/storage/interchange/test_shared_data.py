"""The data sets that lie beside the project, where they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import judgements, prompts
from storage.import_records import Count
from storage.interchange.importing import import_file
from storage.store import Store

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="there is no ../shared/data beside the project")


def test_pandalm(store: Store) -> None:
    """130 prompts, 5 models, three people; ten (prompt, model) have two texts, and both are kept."""
    path = DATA / "pandalm_pairs.jsonl"
    report = import_file(store, path)
    assert (report.rows, report.prompts, report.responses) == (768, Count(130), Count(608))
    assert report.judgements == Count(768 * 3)
    assert store.rows("SELECT count(DISTINCT (prompt_id, policy_id)) FROM responses") == [(598,)]
    assert store.rows("SELECT count(*) FROM preference_ties") == [(256,)]
    assert store.rows("SELECT DISTINCT kind FROM judgements") == [("pair",)]
    agreement = judgements.agreement(store)
    assert [a.pairs for a in agreement] == [768] * 3
    assert all(0.9 < a.agreement < 0.95 for a in agreement)
    before = prompts.overview(store)
    again = import_file(store, path)
    assert (again.prompts, again.responses, again.judgements) == (
        Count(0, 130),
        Count(0, 608),
        Count(0, 2304),
    )
    assert prompts.overview(store) == before


def test_harmless_transcripts(store: Store) -> None:
    report = import_file(store, DATA / "hh_harmless.jsonl")
    assert (report.rows, report.judgements, report.skipped) == (1500, Count(1500), {})
    assert store.rows("SELECT count(*) FROM preference_pairs") == [(1500,)]
    assert store.rows("SELECT count(*) FROM prompts WHERE messages ->> '$[#-1].role' <> 'user'") == [(0,)]


def test_prompts(store: Store) -> None:
    report = import_file(store, DATA / "prompts_user_oriented.jsonl")
    assert (report.shape, report.prompts) == ("prompts", Count(213))
    assert "Grammarly" in dict(prompts.sources(store))
