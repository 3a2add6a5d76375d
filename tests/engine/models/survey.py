"""What the engine makes of a family of models, measured on a tiny random one.

`python -m tests.engine.models.survey` writes docs/models.md.  Works: as for Llama.  Falls back: right, by a
slower way or for less of the model.  Refused: one sentence before anything is sampled or trained.
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from engine.errors import WorkbenchError
from engine.models.features import features_of
from engine.models.files import quiet_transformers
from engine.models.lora import left_out
from engine.models.packing import Row
from engine.models.parts import output_head
from engine.models.policy import load_weights
from engine.models.reward_classifier import init_reward_classifier
from engine.models.trunk import Trunk, make_trainable
from engine.rollout import sample
from engine.rollout.decoders import decoder_of
from engine.training.optimiser import MasterAdam
from engine.training.policy import Policy, load_trainable_policy, save_trained
from tests.engine.models.families import ALL, tiny_config
from tests.fakes import tiny_tokeniser_files

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
CPU = torch.device("cpu")
PROMPTS = [[5, 9, 33, 77, 12], [50, 60, 70]]
LARGEST = 3_000_000  # weights of a model that is still called tiny

DEFAULT = (
    "apertus", "arcee", "bart", "bert", "bloom", "cohere", "cohere2", "deepseek_v3", "exaone4", "falcon",
    "falcon_h1", "gemma", "gemma2", "gemma3", "gemma3_text", "glm4", "gpt2", "gpt_neox", "gpt_oss", "gptj",
    "granite", "granitemoehybrid", "helium", "jamba", "lfm2", "llama", "mamba", "mistral", "mixtral",
    "modernbert-decoder", "mpt", "nemotron_h", "olmo2", "opt", "phi", "phi3", "phimoe", "qwen2", "qwen3",
    "qwen3_5_text", "qwen3_moe", "qwen3_next", "recurrent_gemma", "rwkv", "smollm3", "starcoder2", "xglm",
)  # fmt: skip
"""Families of the default test suite: the well known, and one of every kind."""

SAMPLING = {
    "generic": "works",
    "own_cache": "falls back: its own cache, prompts of one length at a time",
    "no_cache": "falls back: no cache, the whole text for every token",
}


@dataclass(frozen=True)
class Found:
    """A row of the table: what each job makes of the family, in words, and the deviations in nats."""

    family: str
    sampling: str
    training: str = "refused"
    adapters: str = "refused"
    reward: str = "refused"
    deviation: float = 0.0  # largest |Δ log p| of sampler and training, full weights
    adapted_deviation: float = 0.0  # the same after steps of adapters, and of those with the saved model
    losses: tuple[float, float] = (1.0, 0.0)  # before and after the adapters' steps

    @property
    def line(self) -> str:
        return f"| {self.family} | {self.sampling} | {self.training} | {self.adapters} | {self.reward} |"


class NotTinyError(Exception):
    """No small model of the family can be made here."""


def make_folder(family: str, folder: Path) -> Path:
    """A random model of the family with the byte tokeniser.  Raises NotTinyError."""
    try:
        config = tiny_config(family)
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(config)
        if sum(weight.numel() for weight in empty.parameters()) > LARGEST:
            raise NotTinyError(family)
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config).eval()
            if not getattr(config, "is_encoder_decoder", False):
                model(input_ids=torch.arange(3, 15)[None])
            model.save_pretrained(folder)
    except NotTinyError:
        raise
    except Exception as error:  # each says in a way of its own that these sizes do not go together
        raise NotTinyError(f"{family}: {type(error).__name__}") from error
    return tiny_tokeniser_files(folder)


def survey(family: str, folder: Path) -> Found:
    """Load, sample, train, adapt and score with the model in `folder`."""
    try:
        policy = load_trainable_policy(
            folder, dtype="float32", device="cpu", lora_rank=None, seed=0, with_reference=False
        )
    except WorkbenchError as error:
        return Found(family, _refused(error))
    try:
        way = decoder_of(policy.model)
        deviation, rows = compare(policy)
        sampling = SAMPLING[way]
    except WorkbenchError as error:
        rows, deviation, sampling = [Row(prompt, [[7, 8], [9]]) for prompt in PROMPTS], 0.0, _refused(error)
    why_not = policy.trunk.why_not_packed
    training = "works" if why_not is None else "falls back: samples of a prompt one by one"
    adapters, adapted_deviation, losses = _adapted(folder, rows, sampling)
    reward = _reward(folder, rows)
    return Found(family, sampling, training, adapters, reward, deviation, adapted_deviation, losses)


def compare(policy: Policy) -> tuple[float, list[Row]]:
    """Largest |Δ log p| in nats of sampler and training on a few samples; and these."""
    batches = sample(
        policy.model, policy.tokeniser, PROMPTS, samples=2, max_new_tokens=9, stop_ids=[],
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    said = [response for batch in batches for response in batch.responses]
    rows = [
        Row(prompt, [one.token_ids for one in said if one.prompt_index == place])
        for place, prompt in enumerate(PROMPTS)
    ]
    with torch.no_grad():
        learned = policy.forward(rows).logprobs
    return float((learned - torch.tensor([one.logprobs for one in said])).abs().max()), rows


def _adapted(folder: Path, rows: list[Row], sampling: str) -> tuple[str, float, tuple[float, float]]:
    """SFT's loss in steps of adapters of rank 2, then the sampler once more, and the model that is saved."""
    try:
        policy = load_trainable_policy(
            folder, dtype="float32", device="cpu", lora_rank=2, seed=0, with_reference=False
        )
    except WorkbenchError as error:
        return _refused(error), 0.0, (1.0, 0.0)
    optimiser, losses = MasterAdam(policy.model, eps=1e-8), []
    for _ in range(3):
        loss = -policy.forward(rows).logprobs.mean()
        losses.append(float(loss.detach()))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.accumulate()
        optimiser.step(3e-3)
    deviation = 0.0 if sampling.startswith("refused") else compare(policy)[0]
    save_trained(policy, optimiser, folder, folder / "saved")
    saved = load_trainable_policy(
        folder / "saved", dtype="float32", device="cpu", lora_rank=None, seed=0, with_reference=False
    )
    with torch.no_grad():
        moved = float((saved.forward(rows).logprobs - policy.forward(rows).logprobs).abs().max())
    deviation = max(deviation, moved)
    words = "works" if left_out(policy.model) is None else "falls back: a part has no adapters"
    return words, deviation, (losses[0], losses[-1])


def _reward(folder: Path, rows: list[Row]) -> str:
    """A fine-tuned reward model; where transformers has none, the frozen trunk's features."""
    try:
        model = init_reward_classifier(folder)
        make_trainable(model, lora_rank=None, seed=0)
        _score(model, rows).sum().backward()  # type: ignore[no-untyped-call]
        return "works"
    except WorkbenchError as error:
        refused = _refused(error)
    try:
        base, _ = load_weights(AutoModel, folder, "float32")
        trunk = Trunk.of(base.eval(), 0, CPU)
        pairs = [(row.prompt, response) for row in rows for response in row.responses]
        for _, found in features_of(trunk, pairs, (1, 2), ("last", "mean")):
            assert bool(torch.isfinite(found).all())
        return "falls back: on a frozen trunk alone"
    except WorkbenchError:
        return refused


def _score(model: PreTrainedModel, rows: list[Row]) -> Tensor:
    last: Tensor = output_head(model)(Trunk.of(model, 0, CPU).last(rows))
    assert bool(torch.isfinite(last).all())
    return last


def _refused(error: WorkbenchError) -> str:
    return f"refused: {re.split('[;:.(] ?', str(error))[0].strip()}"


HEAD = """# Models

What each job makes of the families of causal language models in transformers, measured on tiny random ones
in float32: `make models` writes this page, `tests/engine/models/test_families.py` holds it against the code.
Where it says works or falls back, sampler and training agree on every log-probability within 1e-4 nats, with
full weights and after steps of adapters, and so does the model that is saved.

**Works**: as for Llama. **Falls back**: right, by a slower way or for less of the model, and the run says so.
**Refused**: one sentence before anything is sampled or trained.

"""


def page(found: list[Found], without: list[str]) -> str:
    """The page, families in their order; `without` could not be built small."""
    table = ["| family | sampling | training | adapters | reward model |", "| --- | --- | --- | --- | --- |"]
    said = f"Not measured, as no small one can be built from its configuration alone: {', '.join(without)}."
    count = f"{len(found)} families."
    return HEAD + "\n".join([count, "", *table, *(one.line for one in found), "", said, ""])


def main() -> None:
    """Measure all families and write the page."""
    torch.set_num_threads(1)
    found, without = [], []
    with tempfile.TemporaryDirectory() as root:
        for family in sorted(ALL):
            folder = Path(root) / family
            try:
                make_folder(family, folder)
            except NotTinyError:
                without.append(family)
                continue
            try:
                found.append(survey(family, folder))
            except Exception as error:
                raise SystemExit(f"{family}: {type(error).__name__}: {error}") from error
            print(found[-1].line, f"{found[-1].deviation:.1g}", file=sys.stderr, flush=True)
    PAGE.write_text(page(found, without))


if __name__ == "__main__":
    main()
