"""What rounding explains passes; what it does not explain stops the run."""

from __future__ import annotations

import pytest
import torch

from engine.errors import WorkbenchError
from engine.training.guards import check_rounding


@pytest.mark.parametrize(
    ("dtype", "usual", "wrong"), [(torch.float32, 1e-5, 5e-3), (torch.bfloat16, 0.05, 0.3)]
)
def test_sampler_and_training_may_differ_by_rounding_alone(
    dtype: torch.dtype, usual: float, wrong: float
) -> None:
    spread = torch.linspace(0, 2, 100)
    check_rounding(usual * spread, dtype, 1.0)
    check_rounding(2 * usual * spread, dtype, 0.5)  # logits over the temperature
    with pytest.raises(WorkbenchError, match="Sampling and training disagree"):
        check_rounding(wrong * spread, dtype, 1.0)
    one_far = torch.zeros(10_000)
    one_far[3] = 5.0
    with pytest.raises(WorkbenchError, match="5 at most"):
        check_rounding(one_far, dtype, 1.0)
