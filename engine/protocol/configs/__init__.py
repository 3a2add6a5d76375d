"""The configuration of every job: frozen records that need nothing heavy to import.

The launch form, the command line and the worker all read these.  The description of a field is its help text.
Fields named `policy` and `reward_model` hold names of the store (or a hub id, a folder, `smollm2`); the
workbench resolves them to folders in the run directory's `inputs.json` when the job starts.
"""

from engine.protocol.configs.common import DEVICE, DTYPE_HELP, NAME, NAME_FORM, JobConfig
from engine.protocol.configs.direct import (
    CPOConfig,
    DPOConfig,
    KTOConfig,
    ORPOConfig,
    PairConfig,
    PreferenceConfig,
    SimPOConfig,
)
from engine.protocol.configs.endpoint import EndpointConfig
from engine.protocol.configs.generate import GenerateConfig
from engine.protocol.configs.imitation import SFTConfig, StoredResponsesConfig
from engine.protocol.configs.judge import JudgeConfig
from engine.protocol.configs.online import NashMDConfig, OnlineDPOConfig
from engine.protocol.configs.overoptimise import OveroptimiseConfig
from engine.protocol.configs.policy import PolicyLearningConfig
from engine.protocol.configs.policy_gradient import GRPOConfig, PPOConfig, RLOOConfig
from engine.protocol.configs.process_reward import ProcessRewardConfig
from engine.protocol.configs.reward import RewardConfig
from engine.protocol.configs.rewarded import BestOfNConfig, RewardedConfig
from engine.protocol.configs.scale import ExportConfig, RegisterConfig, ScoreConfig

__all__ = [
    "DEVICE",
    "DTYPE_HELP",
    "NAME",
    "NAME_FORM",
    "BestOfNConfig",
    "CPOConfig",
    "DPOConfig",
    "EndpointConfig",
    "ExportConfig",
    "GRPOConfig",
    "GenerateConfig",
    "JobConfig",
    "JudgeConfig",
    "KTOConfig",
    "NashMDConfig",
    "ORPOConfig",
    "OnlineDPOConfig",
    "OveroptimiseConfig",
    "PPOConfig",
    "PairConfig",
    "PolicyLearningConfig",
    "PreferenceConfig",
    "ProcessRewardConfig",
    "RLOOConfig",
    "RegisterConfig",
    "RewardConfig",
    "RewardedConfig",
    "SFTConfig",
    "ScoreConfig",
    "SimPOConfig",
    "StoredResponsesConfig",
]
