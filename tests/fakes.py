"""Fakes that stand in for a language model: a two-layer random Llama over bytes, in Hugging Face's layout.

Nothing heavy is imported until a fake is made.
"""

from __future__ import annotations

import json
from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|unused|>")
"""Ids 0 … 3: unknown token, start of turn, end of turn (end of sequence), padding."""

EOS_ID = 2
VOCAB_SIZE = 272  # 4 special tokens, 256 bytes, and some ids that the tokeniser does not know


def tiny_tokeniser_files(folder: Path, *, chat_template: bool = True) -> Path:
    """Write the byte-level tokeniser with a chat template; its every byte is one token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|im_end|>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if chat_template:
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


def tiny_model_folder(
    folder: Path,
    *,
    seed: int = 0,
    layers: int = 2,
    hidden: int = 32,
    chat_template: bool = True,
    max_positions: int = 512,
) -> Path:
    """A random Llama in `folder/tiny-<seed>`: config, safetensors, byte-level tokeniser, chat template."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    folder = Path(folder) / f"tiny-{seed}"
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_positions,
        initializer_range=0.2,  # wide enough that the distributions are far from uniform
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=EOS_ID,
        pad_token_id=None,
        attention_dropout=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=EOS_ID)
    model.save_pretrained(folder)
    return tiny_tokeniser_files(folder, chat_template=chat_template)


def tiny_reward_folder(folder: Path, *, seed: int = 0) -> Path:
    """A reward model over `tiny_model_folder` with a random head, in `folder/tiny-reward-<seed>`."""
    from engine.models.reward_classifier import init_reward_classifier
    from engine.models.saving import save_model

    source = tiny_model_folder(Path(folder), seed=seed)
    destination = Path(folder) / f"tiny-reward-{seed}"
    save_model(init_reward_classifier(source, dtype="float32", seed=seed), source, destination)
    return destination


def tiny_onnx_folder(folder: Path, source: Path) -> Path:
    """An exported reward model, not verified: fp32 and int8 graphs and what lies beside, in `folder/onnx`."""
    from engine.jobs.export_onnx import export, to_int8, write_beside
    from engine.models.reward_model import load_reward_model

    folder = Path(folder) / "onnx"
    folder.mkdir()
    reward_model = load_reward_model(source, "float32")
    write_beside(source, reward_model, folder)
    export(reward_model.model, reward_model.layers, folder, "fp32")
    to_int8(folder, [list(range(4, 60, step)) for step in (1, 2, 3)])
    return folder
