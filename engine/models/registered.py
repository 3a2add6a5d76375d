"""Reward models that were trained elsewhere: a folder around their weights, and proof that it is read right.

They are scored as transformers scores them: `AutoModelForSequenceClassification` with one label, on the whole
conversation as the model's own chat template writes it (`engine.conversation_text`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from engine.conversation_text import IGNORED
from engine.errors import ModelFilesError, UsageError, VerificationError
from engine.files import writing_folder
from engine.models.architecture import reads_both_ways
from engine.models.files import copy_tokeniser, quiet_transformers
from engine.models.parts import arguments, backbone, output_head, probe_tokens
from engine.models.policy import unloadable
from engine.models.probe_chats import probe_chats
from engine.models.reward_model import RewardModel
from engine.text import CONVERSATION, SCORE_LIMIT, SCORE_READS, SCORE_TOKENS, Chat

TOLERANCE = 1e-4
"""Largest difference from transformers' own score, in units of score or, above 1, relative."""
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def make_folder(source: Path, destination: Path, *, chat_template: str = "", max_tokens: int = 0) -> None:
    """Weights by link, the tokeniser, and a configuration that says how the model is read.

    Raises UsageError for what is no reward model with one score, or has no chat template and is given none;
    ModelFilesError for files that cannot be read.
    """
    config = _config(source)
    with writing_folder(destination) as temporary, quiet_transformers():
        for pattern in WEIGHTS:
            for file in source.glob(pattern):
                (temporary / file.name).symlink_to(file.resolve())
        _write_tokeniser(source, temporary, chat_template)
        description = json.loads((source / "config.json").read_text(encoding="utf-8"))
        description |= {SCORE_READS: CONVERSATION, SCORE_LIMIT: max_tokens or SCORE_TOKENS}
        description |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        description.pop("num_labels", None)
        ignored = config.get_text_config().pad_token_id
        if ignored is not None:
            description[IGNORED] = ignored
        (temporary / "config.json").write_text(json.dumps(description, indent=2) + "\n")


def _config(source: Path) -> Any:
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise unloadable(source, error) from error
    kind = config.model_type
    named = [name for name in config.architectures or () if name.endswith("ForSequenceClassification")]
    if config.architectures and not named:
        raise UsageError(
            f"{source} holds a {config.architectures[0]}, not a model for sequence classification; "
            "train a reward model from it instead."
        )
    if config.num_labels != 1:
        raise UsageError(f"{source} gives {config.num_labels} labels; a reward model gives one score.")
    if config.is_encoder_decoder or reads_both_ways(config):
        raise UsageError(
            f"{kind} reads a text in both directions; only reward models that read from left to right can be "
            "registered, because the scorer goes on from what it has read."
        )
    return config


def _write_tokeniser(source: Path, folder: Path, chat_template: str) -> None:
    if (source / "tokenizer.json").is_file():
        copy_tokeniser(source, folder)
    else:  # of another kind, which transformers converts
        try:
            AutoTokenizer.from_pretrained(
                source, local_files_only=True, trust_remote_code=False
            ).save_pretrained(folder)
        except Exception as error:
            raise unloadable(source, error) from error
    if not chat_template:
        return
    path = Path(chat_template).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The chat template {path} cannot be read ({error}).") from None
    (folder / "chat_template.jinja").write_text(text, encoding="utf-8")


@torch.no_grad()
def check(source: Path, reward_model: RewardModel, folder: Path) -> float:
    """The largest difference of its scores from transformers' own, on some conversations.

    Raises VerificationError where it is larger than TOLERANCE or the tokens differ, UsageError for a model
    that is scored at another token than the last.
    """
    model, ours = reward_model.model, reward_model.tokeniser
    _check_reading(model)
    template = (
        (folder / "chat_template.jinja").read_text() if (folder / "chat_template.jinja").is_file() else None
    )
    theirs = _their_tokeniser(source)
    chats = probe_chats()
    expected = []
    for chat, answer in chats:
        ids = _their_ids(theirs, [*chat, {"role": "assistant", "content": answer}], template)
        read = ours.encode_for_score(chat, answer).ids
        if ids[: len(read)] != read:
            raise VerificationError(
                f"The tokens of {source.name} differ from those that transformers makes of the same "
                "conversation; it is not registered."
            )
        expected.append(float(model(input_ids=torch.tensor([ids], device=model.device)).logits[0, 0]))
    encoded = [ours.encode_for_score(chat, answer) for chat, answer in chats]
    scores = reward_model.scores_of([(tokens.prompt, tokens.response) for tokens in encoded])[:, 0].tolist()
    worst = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(scores, expected, strict=True))
    if not worst <= TOLERANCE:
        raise VerificationError(
            f"Scores of {source.name} differ from transformers' own by up to {worst:.3g}, {TOLERANCE:g} "
            f"allowed: {model.config.model_type} is scored in a way that the workbench does not know. "
            "It is not registered."
        )
    return worst


def _check_reading(model: PreTrainedModel) -> None:
    """What follows a token must not change it, and the head must be one linear layer."""
    kind = model.config.model_type
    try:
        output_head(model)
    except ValueError:
        raise UsageError(f"The head of {kind} is not one linear layer; it cannot be registered.") from None
    module = backbone(model)
    ids = torch.tensor([probe_tokens(module, 12)], device=model.device)
    options: dict[str, Any] = {"use_cache": False} if "use_cache" in arguments(module) else {}
    whole, part = module(input_ids=ids, **options)[0], module(input_ids=ids[:, :6], **options)[0]
    scale = whole.abs().max().clamp_min(1e-30)
    if not float((whole[:, :6] - part).abs().max() / scale) <= 1e-3:
        raise UsageError(
            f"{kind} reads a text in both directions; only reward models that read from left to right can be "
            "registered, because the scorer goes on from what it has read."
        )


def _their_tokeniser(source: Path) -> Any:
    try:
        with quiet_transformers():
            return AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise unloadable(source, error) from error


def _their_ids(theirs: Any, chat: Chat, template: str | None) -> list[int]:
    try:
        ids = theirs.apply_chat_template(chat, chat_template=template, tokenize=True, return_dict=False)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:150].rstrip(".")
        raise ModelFilesError(
            f"The chat template does not accept a plain conversation ({reason})."
        ) from error
    return list(ids)
