"""The shape of a decoder, read from the config.json of a Llama, Mistral or Qwen model.

What the decoder would compute wrongly it refuses here, so that such a model can be handed
to another runtime instead.
"""

from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Literal, NoReturn

from llm_core.errors import ModelFileError

RopeKind = Literal["default", "linear", "llama3", "yarn"]
_ROPE_KINDS: tuple[RopeKind, ...] = ("default", "linear", "llama3", "yarn")
_LARGEST = 1 << 24  # no size of a known model comes near
_MOST = 1024  # layers, and heads
_WINDOW = 4096  # a sliding window that is not named
_KEY_HEADS = {
    "mistral": 8,
    "qwen2": 32,
    "qwen3": 32,
}  # where none are named; Llama: as many as heads


class UnsupportedModelError(ModelFileError):
    """The model is of an architecture, or uses a feature, that these files do not implement."""


@dataclass(frozen=True)
class Rope:
    """How positions turn queries and keys: base, and what stretches it past its training.

    `factor` stretches; `original` is the window of the first training; the two `low`/`high`
    numbers bound the band that llama3 (frequency factors) and yarn (slow and fast rotations)
    interpolate in; `scale` multiplies cosines and sines.
    """

    theta: float = 10000.0
    kind: RopeKind = "default"
    factor: float = 1.0
    original: int = 0
    low: float = 1.0
    high: float = 1.0
    scale: float = 1.0
    truncate: bool = True


@dataclass(frozen=True)
class DecoderConfig:
    """Everything that decides what a decoder computes, apart from its weights.

    `windows[layer]` is how many columns a row of that layer looks back on, its own counted,
    or None for all of them.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope: Rope
    max_position_embeddings: int
    tie_word_embeddings: bool
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    qk_norm: bool
    windows: tuple[int | None, ...]

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads together (the values are as wide)."""
        return self.num_key_value_heads * self.head_dim

    @classmethod
    def read(cls, raw: dict[str, Any], source: Path) -> "DecoderConfig":
        """The shape that a config.json describes; `source` is named in errors.

        Raises UnsupportedModelError for what these files do not implement, ModelFileError
        for values that make no model.
        """
        fields = _Fields(raw, source)
        kind = raw.get("model_type")
        if kind not in _FAMILIES:
            known = ", ".join(_FAMILIES)
            fields.unsupported(f"model_type {kind!r}", f"this decoder runs {known}")
        if raw.get("hidden_act", "silu") not in ("silu", "swish"):
            fields.unsupported(f"hidden_act {raw['hidden_act']!r}", "this decoder runs silu")
        if raw.get("quantization_config"):
            fields.unsupported("weights quantised in place", "use a GGUF file or plain weights")
        layers = fields.size("num_hidden_layers", most=_MOST)
        heads = fields.size("num_attention_heads", most=_MOST)
        hidden = fields.size("hidden_size")
        # null says that no heads are shared; without the field it is the family's number.
        shared = heads if "num_key_value_heads" in raw else _KEY_HEADS.get(kind, heads)
        kv_heads = fields.size("num_key_value_heads", shared)
        if heads % kv_heads:
            fields.wrong(f"{heads} attention heads do not share {kv_heads} key-value heads evenly")
        head_dim = fields.size("head_dim", 128 if kind == "qwen3" else hidden // heads)
        if head_dim % 2:
            fields.wrong(f"head_dim {head_dim} is odd and cannot be rotated")
        attention_bias = kind in ("llama", "qwen3") and fields.flag("attention_bias")
        return cls(
            vocab_size=fields.size("vocab_size"),
            hidden_size=hidden,
            intermediate_size=fields.size("intermediate_size"),
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
            rope=_read_rope(fields),
            max_position_embeddings=fields.size("max_position_embeddings"),
            tie_word_embeddings=fields.flag("tie_word_embeddings"),
            qkv_bias=attention_bias or kind == "qwen2",
            o_bias=attention_bias,
            mlp_bias=kind == "llama" and fields.flag("mlp_bias"),
            qk_norm=kind == "qwen3",
            windows=_read_windows(fields, layers),
        )


_FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


class _Fields:
    """Checked reading of a config; every error names the file, the field and its value."""

    def __init__(self, raw: dict[str, Any], source: Path, inside: str = "") -> None:
        self.raw = raw
        self.source = source
        self._inside = inside

    def size(
        self, name: str, default: int | None = None, most: int = _LARGEST, least: int = 1
    ) -> int:
        value = self._get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.wrong(
                f"{self._inside}{name} is {value!r}, not a whole number from {least} to {most}"
            )
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self._get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e12:
            self.wrong(f"{self._inside}{name} is {value!r}, not a number above 0")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self._get(name, False)
        if not isinstance(value, bool):
            self.wrong(f"{self._inside}{name} is {value!r}, not true or false")
        return value

    def part(self, value: Any, name: str) -> "_Fields":
        if not isinstance(value, dict):
            self.wrong(f"{name} is {value!r}, not an object")
        return _Fields(value, self.source, f"{name}.")

    def wrong(self, what: str) -> NoReturn:
        raise ModelFileError(f"{self.source} describes no model: {what}; copy the folder again")

    def unsupported(self, what: str, instead: str) -> NoReturn:
        raise UnsupportedModelError(f"{self.source} asks for {what}: {instead}")

    def _get(self, name: str, default: Any) -> Any:
        value = self.raw.get(name)
        return default if value is None else value


def _read_rope(fields: _Fields) -> Rope:
    # Newer configs hold one object with base and scaling; older ones two separate fields.
    both = fields.raw.get("rope_parameters")
    scaling = fields.raw.get("rope_scaling")
    theta = fields.number("rope_theta", 10000.0)
    rope = fields.part(scaling or both or {}, "rope_scaling" if scaling else "rope_parameters")
    theta = rope.number("rope_theta", theta)
    kind = rope.raw.get("rope_type") or rope.raw.get("type") or "default"
    if kind not in _ROPE_KINDS:
        known = ", ".join(_ROPE_KINDS)
        fields.unsupported(f"rotary positions of type {kind!r}", f"this decoder runs {known}")
    if any(isinstance(value, dict) for value in rope.raw.values()):
        fields.unsupported("rotary positions that differ by layer", "here all layers share theirs")
    for part in (fields, rope):
        if part.number("partial_rotary_factor", 1.0) != 1.0:
            fields.unsupported("partial rotary positions", "this decoder turns whole heads")
    if kind == "default":
        return Rope(theta)
    factor = rope.number("factor")
    original = rope.size("original_max_position_embeddings", fields.size("max_position_embeddings"))
    if kind == "linear":
        return Rope(theta, "linear", factor)
    if kind == "llama3":
        low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
        if low >= high:
            fields.wrong(f"low_freq_factor {low} is not below high_freq_factor {high}")
        return Rope(theta, "llama3", factor, original, low, high)
    if theta <= 1:
        fields.wrong(f"rope_theta {theta} leaves yarn no slower channels")
    truncate = rope.raw.get("truncate") is not False
    slow, fast = rope.number("beta_slow", 1.0), rope.number("beta_fast", 32.0)
    return Rope(theta, "yarn", factor, original, slow, fast, _yarn_scale(rope, factor), truncate)


def _yarn_scale(rope: _Fields, factor: float) -> float:
    def gain(weight: float) -> float:
        return 0.1 * weight * log(factor) + 1.0 if factor > 1 else 1.0

    if rope.raw.get("attention_factor") is not None:
        return rope.number("attention_factor")
    if rope.raw.get("mscale") and rope.raw.get("mscale_all_dim"):
        return gain(rope.number("mscale")) / gain(rope.number("mscale_all_dim"))
    return gain(1.0)


def _read_windows(fields: _Fields, layers: int) -> tuple[int | None, ...]:
    raw, kind = fields.raw, fields.raw["model_type"]
    if kind == "llama":
        return (None,) * layers
    # null says that there is none; without the field it is that of the first models.
    off = raw.get("sliding_window", _WINDOW) is None
    if off or (kind != "mistral" and not fields.flag("use_sliding_window")):
        return (None,) * layers
    window = fields.size("sliding_window", _WINDOW)
    if kind == "mistral":
        return (window,) * layers
    kinds = raw.get("layer_types")
    if kinds is None:
        first = fields.size("max_window_layers", 28, least=0)
        kinds = ["sliding_attention" if n >= first else "full_attention" for n in range(layers)]
    known = ("full_attention", "sliding_attention")
    if (
        not isinstance(kinds, list)
        or len(kinds) != layers
        or any(kind not in known for kind in kinds)
    ):
        fields.wrong(f"layer_types {kinds!r} do not fit {layers} layers")
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)
