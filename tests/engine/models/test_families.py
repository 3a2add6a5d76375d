"""Every family of causal language models is right, or is refused in a sentence; docs/models.md says which."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.engine.models.families import ALL
from tests.engine.models.survey import DEFAULT, PAGE, NotTinyError, make_folder, survey

NATS = 1e-4

pytestmark = pytest.mark.filterwarnings("ignore")  # of families that transformers itself warns about


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def check(family: str, folder: Path) -> None:
    found = survey(family, make_folder(family, folder))
    assert found.deviation <= NATS
    assert found.adapted_deviation <= NATS
    assert found.losses[1] < found.losses[0]
    assert found.line in PAGE.read_text(encoding="utf-8"), "run `make models`"


@pytest.mark.parametrize("family", DEFAULT)
def test_a_well_known_family(family: str, tmp_path: Path) -> None:
    check(family, tmp_path / family)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("family", sorted(set(ALL) - set(DEFAULT)))
def test_every_other_family(family: str, tmp_path: Path) -> None:
    try:
        check(family, tmp_path / family)
    except NotTinyError as error:
        pytest.skip(f"no small model: {error}")
