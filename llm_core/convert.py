"""Turn a llama-architecture GGUF file into a folder that transformers loads directly.

Reading a GGUF takes many seconds every time; the converted folder (bfloat16 safetensors
and a fast tokenizer file) loads in two. Done once, when a model enters the cache.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_core.errors import ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from numpy.typing import NDArray
    from torch import Tensor

CONVERTER = 1  # part of every converted model's manifest; raise it when the output changes
PRE_TOKENIZERS = ("smollm", "gpt-2")
BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def convert_gguf(source: Path, target: Path) -> None:
    """Write the model of `source` into the existing folder `target`.

    Writes config.json, generation_config.json, model.safetensors (bfloat16),
    tokenizer.json and tokenizer_config.json (with the chat template). Raises
    `ModelFileError` for a damaged file and for an architecture or tokenizer it does
    not know.
    """
    from safetensors.torch import save_file

    reader = _open(source)
    meta = _Metadata(source, reader)
    config = _config(meta, {tensor.name for tensor in reader.tensors})
    tokenizer, tokenizer_config = _tokenizer(meta)
    weights = _weights(source, reader, config)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(target / "tokenizer.json"))
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, content in (
        ("config.json", config),
        ("generation_config.json", ids),
        ("tokenizer_config.json", tokenizer_config),
    ):
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (target / name).write_text(text + "\n", encoding="utf-8")


def _open(source: Path) -> "GGUFReader":
    from gguf import GGUFReader

    try:
        return GGUFReader(source)
    except (ValueError, KeyError, IndexError, OverflowError, UnicodeDecodeError) as error:
        raise ModelFileError(
            f"{source} is not a readable GGUF file ({error}); download it again"
        ) from error


class _Metadata:
    """The key-value part of a GGUF file."""

    def __init__(self, source: Path, reader: "GGUFReader") -> None:
        self.source = source
        self.fields = reader.fields

    def get(self, key: str, default: Any = None) -> Any:
        field = self.fields.get(key)
        return default if field is None else field.contents()

    def need(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            raise ModelFileError(f"{self.source} lacks the GGUF key {key}; download it again")
        return value

    def expect(self, key: str, known: tuple[str, ...]) -> str:
        value = str(self.need(key))
        if value not in known:
            raise ModelFileError(
                f"{self.source} has {key} {value!r}; known: {', '.join(known)}; "
                "use the model's safetensors folder instead"
            )
        return value


def _shortest(value: float) -> float:
    """Undo the widening of a stored float32: 9.999999747378752e-06 becomes 1e-05."""
    import numpy as np

    return float(str(np.float32(value)))


def _config(meta: _Metadata, tensors: set[str]) -> dict[str, Any]:
    meta.expect("general.architecture", ("llama",))
    if meta.get("llama.rope.scaling.type", "none") != "none" or "rope_freqs.weight" in tensors:
        raise ModelFileError(
            f"{meta.source} scales its rotary positions, which the converter does not know; "
            "use the model's safetensors folder instead"
        )
    width = int(meta.need("llama.embedding_length"))
    heads = int(meta.need("llama.attention.head_count"))
    theta = _shortest(meta.get("llama.rope.freq_base", 10000.0))
    eos = int(meta.need("tokenizer.ggml.eos_token_id"))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": int(meta.get("tokenizer.ggml.bos_token_id", eos)),
        "dtype": "bfloat16",
        "eos_token_id": eos,
        "head_dim": int(meta.get("llama.attention.key_length", width // heads)),
        "hidden_act": "silu",
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": int(meta.need("llama.feed_forward_length")),
        "max_position_embeddings": int(meta.need("llama.context_length")),
        "mlp_bias": False,
        "num_attention_heads": heads,
        "num_hidden_layers": int(meta.need("llama.block_count")),
        "num_key_value_heads": int(meta.get("llama.attention.head_count_kv", heads)),
        "pad_token_id": int(meta.get("tokenizer.ggml.padding_token_id", eos)),
        "rms_norm_eps": _shortest(meta.need("llama.attention.layer_norm_rms_epsilon")),
        "rope_parameters": {"rope_theta": theta, "rope_type": "default"},
        "rope_theta": theta,
        "tie_word_embeddings": "output.weight" not in tensors,
        "use_cache": True,
        "vocab_size": len(meta.need("tokenizer.ggml.tokens")),
    }


def _weights(source: Path, reader: "GGUFReader", config: dict[str, Any]) -> dict[str, "Tensor"]:
    import torch
    from gguf import dequantize

    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        name = _hub_name(source, tensor.name)
        values = dequantize(tensor.data, tensor.tensor_type)  # float32, (rows, columns) or (n,)
        part = tensor.name.split(".")[2] if tensor.name.startswith("blk.") else ""
        if part in heads:
            values = _unpermute(values, heads[part])
        weights[name] = torch.tensor(values, dtype=torch.float32).to(torch.bfloat16)
    wanted = len(BLOCK_NAMES) * config["num_hidden_layers"] + 3 - config["tie_word_embeddings"]
    if len(weights) != wanted:
        raise ModelFileError(
            f"{source} holds {len(weights)} tensors, its architecture needs {wanted}; "
            "download it again"
        )
    return weights


def _hub_name(source: Path, name: str) -> str:
    """Map a GGUF tensor name to the one transformers uses."""
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    match name.split("."):
        case ["blk", layer, part, "weight"] if part in BLOCK_NAMES and layer.isdecimal():
            return f"model.layers.{layer}.{BLOCK_NAMES[part]}.weight"
    raise ModelFileError(
        f"{source} holds the tensor {name!r}, which a llama model does not have; "
        "use the model's safetensors folder instead"
    )


def _unpermute(weight: "NDArray[np.float32]", heads: int) -> "NDArray[np.float32]":
    """Restore the row order of a query or key matrix.

    GGUF interleaves the two halves of each head for its rotary kernel:
    (H, D/2, 2, C) there is (H, 2, D/2, C) here.
    """
    rows, columns = weight.shape
    halves = weight.reshape(heads, rows // heads // 2, 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _tokenizer(meta: _Metadata) -> tuple[Any, dict[str, Any]]:
    """Build the fast tokenizer (a `tokenizers.Tokenizer`) and its configuration."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    meta.expect("tokenizer.ggml.model", ("gpt2",))
    pre = meta.expect("tokenizer.ggml.pre", PRE_TOKENIZERS)
    tokens: list[str] = meta.need("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in meta.need("tokenizer.ggml.merges")]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    steps: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if pre == "smollm":  # every digit is a token of its own
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    kinds: list[int] = meta.get("tokenizer.ggml.token_type", [1] * len(tokens))
    control = [
        AddedToken(t, special=True) for t, kind in zip(tokens, kinds, strict=True) if kind == 3
    ]
    tokenizer.add_special_tokens(control)
    return tokenizer, _tokenizer_config(meta, tokens)


def _tokenizer_config(meta: _Metadata, tokens: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(meta.need("llama.context_length")),
    }
    eos = meta.need("tokenizer.ggml.eos_token_id")
    for name, key, default in (
        ("bos_token", "bos", eos),
        ("eos_token", "eos", eos),
        ("pad_token", "padding", eos),
        ("unk_token", "unknown", None),
    ):
        index = meta.get(f"tokenizer.ggml.{key}_token_id", default)
        if index is not None:
            config[name] = tokens[index]
    template = meta.get("tokenizer.chat_template")
    if template:
        config["chat_template"] = template
    return config
