"""How a configuration wants a head fitted: one record for the job, for `auto` and for the live head."""

from __future__ import annotations

from engine.frozen.fit import FitSettings
from engine.protocol.configs import RewardConfig
from engine.protocol.configs.reward import WITH_TIES

ENSEMBLE = 32
"""Heads of the ensemble when the configuration wants no certain number: here they cost nothing."""


def fit_settings(config: RewardConfig) -> FitSettings:
    """The settings of a fit.  A majority, if one is wanted, is taken where judgements are read."""
    return FitSettings(
        votes="all",
        ties=config.objective in WITH_TIES,
        folds=config.folds,
        members=config.ensemble if config.ensemble > 1 else ENSEMBLE,
        seed=config.seed,
        length=config.length,
    )


def live_settings() -> FitSettings:
    """Those of the head that learns while a person ranks: what training would do unless told otherwise."""
    return fit_settings(RewardConfig(name="live", tuning="frozen"))
