"""Options that would be ignored."""

import pytest

from engine.errors import UsageError
from engine.protocol.configs import ExportConfig, RewardConfig
from engine.protocol.fields import fields
from workbench.cli.options import job_command


def test_an_option_that_would_be_ignored_is_refused_even_at_its_default() -> None:
    heard: list[RewardConfig] = []
    command = job_command(RewardConfig, lambda config: heard.append(config))
    given = dict.fromkeys((field.name for field in fields(RewardConfig)), None) | {"name": "r"}
    command(**given)
    assert heard == [RewardConfig(name="r")]
    with pytest.raises(UsageError, match=r"Leave out what would be ignored: epochs \(a head on a frozen"):
        command(**given | {"epochs": "1"})
    command(**given | {"epochs": "1", "tuning": "lora"})
    assert heard[-1] == RewardConfig(name="r", tuning="lora")


def test_an_option_that_is_never_used_is_not_offered() -> None:
    command = job_command(ExportConfig, lambda config: None)
    assert "dtype" not in command.__annotations__
    assert "tolerance" in command.__annotations__
