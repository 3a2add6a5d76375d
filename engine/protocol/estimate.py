"""What a job will need, before it is started: memory and time, from the configuration and the model's sizes
alone.

Memory is counted by `engine.protocol.memory`, which was within 20 % of what was measured where texts are as
long as the configuration lets them be; shorter ones take less.  The time is work (parameters × tokens, a
backward pass counting two forward ones) over the rate that earlier runs on this machine reached.  Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.protocol.configs import JobConfig
from engine.protocol.memory import PROCESS_BYTES, Sizes, memory_of
from engine.wording import counted

RATES = {"cpu bfloat16": 2e11, "cpu float32": 1e11, "cuda": 2e13}
"""Parameter-tokens a second where no run has been measured yet: two cores, and a large GPU."""


@dataclass(frozen=True)
class Estimate:
    """What a job will need, about."""

    memory_bytes: int | None  # at its peak; None when the model's sizes are not known
    seconds: float | None  # None when nothing says how much there is to do
    sentence: str


def sizes_of(model_config: Mapping[str, Any]) -> Sizes | None:
    """The sizes in a model's `config.json`; None when they are not there."""
    text_config: Mapping[str, Any] = model_config.get("text_config") or model_config
    try:
        hidden, heads = int(text_config["hidden_size"]), int(text_config["num_attention_heads"])
        head = int(text_config.get("head_dim") or hidden // heads)
        return Sizes(
            layers=int(text_config["num_hidden_layers"]),
            hidden=hidden,
            middle=int(text_config.get("intermediate_size") or 4 * hidden),
            heads=heads,
            key_value=int(text_config.get("num_key_value_heads") or heads) * head,
            query=heads * head,
            vocabulary=int(text_config["vocab_size"]),
            tied=bool(text_config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def estimate(
    config: JobConfig,
    model_config: Mapping[str, Any],
    *,
    prompts: int | None = None,
    responses: int | None = None,
    rate: float | None = None,
) -> Estimate:
    """Memory and time of a job.

    config: with device and dtype as they will be; `auto` is taken for a CPU in float32.  model_config:
    `config.json` of its policy; reward models are taken to be as large.  prompts: how many it will read.
    responses: of how many it needs the features of a frozen trunk.
    rate: parameter-tokens a second of an earlier run on this machine.  Raises UsageError for a configuration
    that does not say what it costs.
    """
    cost = config.cost()
    if cost.endpoint:
        return Estimate(PROCESS_BYTES, None, f"The work is done at {cost.endpoint}; little is needed here.")
    if not cost.computes:
        return Estimate(None, None, "A function judges; nothing says what it needs.")
    sizes = sizes_of(model_config)
    if sizes is None:
        return Estimate(None, None, "The model's sizes are not known yet, so nothing is estimated.")
    memory = memory_of(config, sizes)
    work = work_of(config, sizes, prompts, responses)
    dtype = "bfloat16" if config.dtype == "bfloat16" else "float32"
    used = rate or RATES["cuda" if config.device.startswith("cuda") else f"cpu {dtype}"]
    seconds = None if work is None else work / used
    sentence = f"About {_bytes(memory)} of memory at its peak"
    if seconds is not None:
        grounds = "as fast as the last such run" if rate else "a guess until a run here has been measured"
        sentence += f", and {_time(seconds)} ({grounds})"
    if cost.tuning == "frozen" and responses is not None:
        sentence = f"Features read or computed: of {counted(responses, 'response')}. {sentence}"
    asked = "".join(
        f" {name} is asked about {count:,} times; how long an endpoint takes is not counted."
        for name, count in config.questions(prompts).items()
    )
    return Estimate(memory, seconds, f"{sentence}; it computes in {dtype}.{asked}")


def work_of(
    config: JobConfig, sizes: Sizes, prompts: int | None, responses: int | None = None
) -> float | None:
    """Parameters × tokens that go forward, a backward pass counting twice; None when that depends on more."""
    tokens = config.work(prompts, responses)
    return None if tokens is None else float(tokens * sizes.parameters)


def _bytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(2, round(seconds))} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
