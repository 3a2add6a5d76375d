"""Every family of causal language models that transformers has, as a configuration small enough for a test.

A field that a configuration knows is made small; what a family needs beyond that stands in `OWN`.
"""

from __future__ import annotations

from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.fakes import EOS_ID, VOCAB_SIZE

ALL = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

SMALL: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE, "vocab_size_per_layer_input": VOCAB_SIZE, "hidden_size": 32, "n_embd": 32,
    "d_model": 32, "emb_dim": 32, "embedding_size": 32, "word_embed_proj_dim": 32, "lru_width": 32,
    "attention_hidden_size": 32, "dim_model_base": 32, "intermediate_size": 48, "n_inner": 48, "d_ff": 48,
    "ffn_dim": 48, "mlp_dim": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24, "num_hidden_layers": 2, "n_layer": 2, "num_layers": 2,
    "n_layers": 2, "encoder_layers": 2, "decoder_layers": 2, "num_attention_heads": 4, "n_head": 4,
    "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "rotary_dim": 4, "max_position_embeddings": 64,
    "n_positions": 64, "n_ctx": 64, "max_seq_len": 64, "num_local_experts": 4, "num_experts": 4,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "num_shared_experts": 1, "n_shared_experts": 1,
    "n_group": 1, "topk_group": 1, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8, "v_head_dim": 8, "qk_head_dim": 16, "mamba_n_heads": 4, "mamba_d_head": 16,
    "mamba_d_ssm": 64, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_expand": 2, "mamba_chunk_size": 8,
    "mamba_d_conv": 4, "mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 8, "state_size": 8,
    "n_mamba_heads": 2, "n_groups": 1, "time_step_rank": 4, "chunk_size": 8, "conv_kernel": 4, "expand": 2,
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4, "conv_L_cache": 3, "sliding_window": 6,
    "attention_window_size": 6, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0,
    "laurel_rank": 8, "altup_num_inputs": 2, "initializer_range": 0.2, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": EOS_ID, "logits_scaling": 4.0, "logit_scale": 0.25,
    "lm_head_multiplier": 0.5, "final_logit_softcapping": 2.0, "logits_soft_cap": 2.0,
}  # fmt: skip

HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
MLA = {"head_dim": None, "num_key_value_heads": 4}  # the size of a head follows from its rotary part
VISION = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 16, "patch_size": 8,
}  # fmt: skip

OWN: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 6},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"], "full_attn_idxs": None},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 2},
    "qwen3_5_text": HYBRID,
    "qwen3_next": HYBRID,
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "falcon": {"head_dim": None},
    "deepseek_v2": MLA,
    "deepseek_v3": MLA,
    "minicpm3": {**MLA, "logits_scaling": None, "dim_model_base": 16},
    "axk1": MLA,
    "axk2": MLA,
    "bailing_hybrid": MLA,
    "deepseek_v32": MLA,
    "glm4_moe_lite": MLA,
    "glm_moe_dsa": MLA,
    "kimi_linear": MLA,
    "longcat_flash": MLA,
    "youtu": MLA,
    "gemma3": {"vision_config": VISION, "mm_tokens_per_image": 4},
    "zaya": {"num_experts_per_tok": 1},
    "xmod": {"default_language": "en_XX"},
}


def tiny_config(family: str) -> PreTrainedConfig:
    """A small configuration of the family, logits scaled or capped where it can scale or cap them."""
    kind: Any = CONFIG_MAPPING[family]
    base = kind()
    own = OWN.get(family, {})
    values = {name: value for name, value in (_known(base) | own).items() if own.get(name, value) is not None}
    text = getattr(base, "text_config", None)
    if text is not None:
        values["text_config"] = _known(text)
    found: PreTrainedConfig = kind(**values)
    return found


def _known(config: PreTrainedConfig) -> dict[str, Any]:
    written = config.to_dict()
    found = {name: value for name, value in SMALL.items() if name in written or hasattr(config, name)}
    kinds = written.get("layer_types")
    if kinds:
        different = list(dict.fromkeys(kinds))
        found["layer_types"] = [different[0], different[-1]]
    return found
