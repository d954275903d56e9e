"""The other way round: what a GGUF file says of a decoder that config.json describes."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.errors import ModelFileError
from llm_core.formats.layout import PARTS, PERMUTED, TOP
from llm_core.formats.rope import llama3_factors
from llm_core.models.config import DecoderConfig

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
# Buffers that old files hold beside the weights, and the head that a tied model repeats.
REPEATED = ("rotary_emb.inv_freq", "lm_head.weight")
_PARTS = {theirs: ours for ours, theirs in PARTS.items()}
_TOP = {theirs: ours for ours, theirs in TOP.items()}


def architecture_of(raw: dict[str, Any], source: Path) -> tuple[str, DecoderConfig]:
    """GGUF's name of the architecture, and the shape of the model.

    Raises `ModelFileError` for a model that a GGUF file of these architectures cannot say.
    """
    if raw.get("model_type") not in ARCHITECTURES:
        _refuse(source, f"has model_type {raw.get('model_type')!r}")
    config = DecoderConfig.read(raw, source)
    if any(w is not None and w < config.max_position_embeddings for w in config.windows):
        _refuse(source, "looks back a limited number of tokens (sliding_window)")
    if config.rope.kind == "yarn":
        usual = 0.1 * np.log(max(config.rope.factor, 1.0)) + 1.0
        if abs(config.rope.scale - usual) > 1e-6 or not config.rope.truncate:
            _refuse(source, "has yarn positions with numbers of its own")
    return ARCHITECTURES[raw["model_type"]], config


def metadata_of(architecture: str, config: DecoderConfig) -> dict[str, Any]:
    """The keys of a GGUF file that describe the model's shape."""
    own: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": config.rope.theta,
    }
    if config.rope.kind in ("linear", "yarn"):
        own["rope.scaling.type"] = config.rope.kind
        own["rope.scaling.factor"] = config.rope.factor
    if config.rope.kind == "yarn":
        own["rope.scaling.original_context_length"] = config.rope.original
        own["rope.scaling.yarn_beta_fast"] = config.rope.high
        own["rope.scaling.yarn_beta_slow"] = config.rope.low
    return {
        "general.architecture": architecture,
        "general.quantization_version": 2,
        **{f"{architecture}.{key}": value for key, value in own.items()},
    }


def frequency_factors(config: DecoderConfig) -> NDArray[np.float32] | None:
    """The tensor `rope_freqs.weight` (head_dim / 2,) of Llama 3 positions, None for others."""
    if config.rope.kind != "llama3":
        return None
    numbers = {
        "factor": config.rope.factor,
        "low_freq_factor": config.rope.low,
        "high_freq_factor": config.rope.high,
        "original_max_position_embeddings": config.rope.original,
    }
    return llama3_factors(numbers, config.rope.theta, config.head_dim).astype(np.float32)


def gguf_name(name: str, source: Path) -> str:
    """GGUF's name of a Hugging Face weight."""
    if name in _TOP:
        return _TOP[name]
    match name.split("."):
        case ["model", "layers", layer, *middle, ("weight" | "bias") as kind]:
            part = _PARTS.get(".".join(middle))
            if part is not None:
                return f"blk.{layer}.{part}.{kind}"
    raise ModelFileError(f"{source} holds the tensor {name}, which has no name in GGUF")


def stored_order(name: str, architecture: str, config: DecoderConfig) -> NDArray[np.intp] | None:
    """Which Hugging Face row each stored row of a query or key tensor is, None for no change."""
    part = name.split(".")[2] if name.startswith("blk.") else ""
    if architecture not in PERMUTED or part not in ("attn_q", "attn_k"):
        return None
    heads = config.num_attention_heads if part == "attn_q" else config.num_key_value_heads
    order = np.arange(heads * config.head_dim).reshape(heads, 2, config.head_dim // 2)
    return order.swapaxes(1, 2).reshape(-1)


def _refuse(source: Path, what: str) -> None:
    raise ModelFileError(
        f"{source} {what}, which the GGUF files written here cannot say (they are of "
        f"{', '.join(ARCHITECTURES)}); convert it to safetensors"
    )
