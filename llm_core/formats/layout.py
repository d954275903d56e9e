"""What a GGUF file of a decoder holds, in Hugging Face's terms: its config and tensor names.

Known are the architectures `llama` (Llama, Mistral, SmolLM), `qwen2` and `qwen3`. Key and
tensor names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from llm_core.errors import ModelFileError
from llm_core.formats.gguf import GGUFFile, shown
from llm_core.formats.rope import rope_parameters
from llm_core.models.config import DecoderConfig

CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
PERMUTED = ("llama",)  # GGUF interleaves the halves of their query and key heads
PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_FIXED: dict[str, Any] = {  # the same in every such model
    "attention_dropout": 0.0,
    "dtype": "bfloat16",
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "use_cache": True,
}
FREQUENCIES = "rope_freqs.weight"  # factors of the rotary positions, not a weight


class Keys:
    """The metadata of one architecture, each value checked as it is read."""

    def __init__(self, file: GGUFFile) -> None:
        self.file = file
        self.architecture = str(self.need("general.architecture"))
        if self.architecture not in CLASSES:
            self.refuse(
                f"has general.architecture {shown(self.architecture)}; known: {', '.join(CLASSES)}"
            )

    def refuse(self, what: str) -> NoReturn:
        raise ModelFileError(f"{self.file.path} {what}; use the model's safetensors folder instead")

    def need(self, key: str) -> Any:
        value = self.file.get(key)
        if value is None:
            raise ModelFileError(f"{self.file.path} lacks the GGUF key {key}; download it again")
        return value

    def own(self, key: str, default: Any = None) -> Any:
        """A value under the architecture's name."""
        return self.file.get(f"{self.architecture}.{key}", default)

    def whole(self, key: str, default: int | None = None) -> int:
        """A positive whole number under the architecture's name."""
        value = self.own(key, default)
        if value is None:
            value = self.need(f"{self.architecture}.{key}")
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
            self.refuse(f"has {self.architecture}.{key} {shown(value)}, not a positive number")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A positive number under the architecture's name, in its shortest form.

        Undoes the widening of a stored float32: 9.999999747378752e-06 becomes 1e-05.
        """
        value = self.own(key, default)
        if value is None:
            value = self.need(f"{self.architecture}.{key}")
        if not isinstance(value, int | float) or not 0 < value < 3e38:
            self.refuse(f"has {self.architecture}.{key} {shown(value)}, not a positive number")
        return float(str(np.float32(value)))

    def token(self, key: str, default: int | None = None) -> int:
        """A token id under tokenizer.ggml."""
        name = f"tokenizer.ggml.{key}_token_id"
        value = self.need(name) if default is None else self.file.get(name, default)
        size = self.vocabulary()
        if not isinstance(value, int) or not 0 <= value < size:
            self.refuse(f"has {name} {shown(value)}, and its vocabulary has {size} tokens")
        return value

    def vocabulary(self) -> int:
        """How many tokens there are."""
        size = self.file.length("tokenizer.ggml.tokens")
        if size == 0:
            self.refuse("lacks the list tokenizer.ggml.tokens")
        return size

    def tokens(self) -> list[str]:
        """The vocabulary, in the order of the ids."""
        tokens = self.need("tokenizer.ggml.tokens")
        if not isinstance(tokens, list) or not tokens or not isinstance(tokens[0], str):
            self.refuse(f"has tokenizer.ggml.tokens {shown(tokens)}, not a list of strings")
        return tokens


def read_config(file: GGUFFile) -> dict[str, Any]:
    """What config.json says of such a model; every tensor is checked against it.

    Raises `ModelFileError` for an architecture or a value it does not know, and for
    tensors that are missing, unknown or of another shape.
    """
    keys = Keys(file)
    if file.get("split.count", 1) != 1:
        keys.refuse("is one part of a split file, and parts must be joined first")
    width, heads = keys.whole("embedding_length"), keys.whole("attention.head_count")
    size = keys.whole("attention.key_length", max(1, width // heads))
    if keys.whole("attention.value_length", size) != size or size % 2:
        keys.refuse(f"has heads of {size} for keys and another size for values, or an odd one")
    if keys.whole("rope.dimension_count", size) != size:
        keys.refuse("turns only a part of each head by its position")
    eos = keys.token("eos")
    config = {
        **_FIXED,
        "architectures": [CLASSES[keys.architecture]],
        "model_type": keys.architecture,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "bos_token_id": keys.token("bos", eos),
        "eos_token_id": eos,
        "head_dim": size,
        "hidden_size": width,
        "intermediate_size": keys.whole("feed_forward_length"),
        "max_position_embeddings": keys.whole("context_length"),
        "mlp_bias": "blk.0.ffn_up.bias" in file.tensors,
        "num_attention_heads": heads,
        "num_hidden_layers": keys.whole("block_count"),
        "num_key_value_heads": keys.whole("attention.head_count_kv", heads),
        "pad_token_id": keys.token("padding", eos),
        "rms_norm_eps": keys.real("attention.layer_norm_rms_epsilon"),
        "rope_parameters": rope_parameters(keys),
        "rope_theta": keys.real("rope.freq_base", 10000.0),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "vocab_size": keys.vocabulary(),
    }
    _check_tensors(keys, config)
    return config


def hub_names(file: GGUFFile) -> dict[str, str]:
    """GGUF's name of every weight, by Hugging Face's."""
    names: dict[str, str] = {}
    for name in file.tensors:
        if name == FREQUENCIES:
            continue
        hub = hub_name(name)
        if hub is None:
            raise ModelFileError(
                f"{file.path} holds the tensor {shown(name)}, which such a model does not have; "
                "use the model's safetensors folder instead"
            )
        names[hub] = name
    return names


def hub_name(name: str) -> str | None:
    """Hugging Face's name of a GGUF weight, None for one that is not known."""
    if name in TOP:
        return TOP[name]
    match name.split("."):
        case ["blk", layer, part, "weight" | "bias" as kind] if part in PARTS:
            if len(layer) < 6 and layer.isdecimal() and str(int(layer)) == layer:
                return f"model.layers.{layer}.{PARTS[part]}.{kind}"
    return None


def row_order(file: GGUFFile, name: str) -> NDArray[np.intp] | None:
    """Which stored row each Hugging Face row of a query or key tensor is, None for no change.

    GGUF interleaves the two halves of each head for its rotary kernel: (H, D/2, 2) there is
    (H, 2, D/2) here.
    """
    keys = Keys(file)
    part = name.split(".")[2] if name.startswith("blk.") else ""
    if keys.architecture not in PERMUTED or part not in ("attn_q", "attn_k"):
        return None
    heads = keys.whole("attention.head_count")
    if part == "attn_k":
        heads = keys.whole("attention.head_count_kv", heads)
    info = file.tensors[name]
    rows = info.shape[0]
    if rows % (2 * heads):
        keys.refuse(f"has {rows} rows in {name}, which {heads} heads do not share evenly")
    order = np.arange(rows).reshape(heads, rows // heads // 2, 2)
    return order.swapaxes(1, 2).reshape(rows)


def _check_tensors(keys: Keys, config: dict[str, Any]) -> None:
    held = {hub: keys.file.tensors[name].shape for hub, name in hub_names(keys.file).items()}
    layers = config["num_hidden_layers"]
    if layers > len(held):
        keys.refuse(f"announces {layers} layers and holds {len(held)} tensors")
    wanted = dict(tensor_shapes(DecoderConfig.read(config, keys.file.path)))
    for name, shape in wanted.items():
        if held.get(name) != shape:
            found = "none" if name not in held else f"one of {held[name]}"
            raise ModelFileError(
                f"{keys.file.path} should hold the tensor {name} of shape {shape} and has "
                f"{found}; download it again"
            )
    if unknown := sorted(held.keys() - wanted.keys()):
        keys.refuse(f"holds the tensor {unknown[0]}, which its description does not have")


def tensor_shapes(config: DecoderConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every weight that a model of this config has."""
    width, size = config.hidden_size, config.head_dim
    inner, vocabulary = config.intermediate_size, config.vocab_size
    queries = config.num_attention_heads * size
    values = config.num_key_value_heads * size
    yield "model.embed_tokens.weight", (vocabulary, width)
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}."
        for part, rows, columns, biased in (
            ("self_attn.q_proj", queries, width, config.qkv_bias),
            ("self_attn.k_proj", values, width, config.qkv_bias),
            ("self_attn.v_proj", values, width, config.qkv_bias),
            ("self_attn.o_proj", width, queries, config.o_bias),
            ("mlp.gate_proj", inner, width, config.mlp_bias),
            ("mlp.up_proj", inner, width, config.mlp_bias),
            ("mlp.down_proj", width, inner, config.mlp_bias),
        ):
            yield f"{at}{part}.weight", (rows, columns)
            if biased:
                yield f"{at}{part}.bias", (rows,)
        yield at + "input_layernorm.weight", (width,)
        yield at + "post_attention_layernorm.weight", (width,)
        if config.qk_norm:
            yield at + "self_attn.q_norm.weight", (size,)
            yield at + "self_attn.k_norm.weight", (size,)
    yield "model.norm.weight", (width,)
    if not config.tie_word_embeddings:
        yield "lm_head.weight", (vocabulary, width)
