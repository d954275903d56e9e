"""Random quantised models, and what the kernel must compute on them written out in numpy.

The reference takes nothing from the kernel but its numbers' meaning: weights as the blocks
dequantise, activations rounded to 8 bits per 32 before every product with quantised weights
(for the head to 8 bits and 8 more of what that lost),
keys and values, scaled queries and softmax weights to bfloat16, an adapter's factors to 8 bits
(A with a scale per 32 columns, B per row) and what lies between them to 16.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_core.backend import Rows
from llm_core.models.config import DecoderConfig
from llm_core.models.positions import rotary_tables

Array = np.ndarray[Any, np.dtype[Any]]
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Blocks:
    """Stored rows of one weight, as a checkpoint gives them."""

    kind: str
    rows: Array  # uint8 (R, bytes of a row)
    columns: int


def quantise(kind: str, weights: Array) -> Array:
    """Stored rows (R, bytes) of float32 weights (R, C), in the block formats of GGUF files."""
    groups = weights.reshape(weights.shape[0], -1, 32)  # (R, C / 32, 32)
    if kind == "Q8_0":
        d = (np.abs(groups).max(-1) / 127).astype(np.float16)
        q = np.rint(groups / np.maximum(d.astype(np.float32), 1e-8)[..., None]).astype(np.int8)
        parts = [_bytes(d), q.view(np.uint8)]
    elif kind == "Q4_1":
        low = groups.min(-1)
        d = ((groups.max(-1) - low) / 15).astype(np.float16)
        steps = (groups - low[..., None]) / np.maximum(d.astype(np.float32), 1e-8)[..., None]
        parts = [_bytes(d), _bytes(low.astype(np.float16)), _nibbles(steps)]
    else:
        d = (np.abs(groups).max(-1) / 7).astype(np.float16)
        steps = groups / np.maximum(d.astype(np.float32), 1e-8)[..., None] + 8
        parts = [_bytes(d), _nibbles(steps)]
    return np.concatenate(parts, axis=-1).reshape(weights.shape[0], -1)


def dequantise(blocks: Blocks) -> Array:
    """The float32 weights (R, C) that stored rows stand for."""
    size = {"Q8_0": 34, "Q4_1": 20, "Q4_0": 18}[blocks.kind]
    cells = blocks.rows.reshape(blocks.rows.shape[0], -1, size)  # (R, C / 32, bytes of a block)
    d = np.ascontiguousarray(cells[..., :2]).view(np.float16).astype(np.float32)
    if blocks.kind == "Q8_0":
        values = cells[..., 2:].view(np.int8).astype(np.float32) * d
    else:
        packed = cells[..., size - 16 :]
        q = np.concatenate([packed & 15, packed >> 4], axis=-1).astype(np.float32)
        if blocks.kind == "Q4_1":
            low = np.ascontiguousarray(cells[..., 2:4]).view(np.float16).astype(np.float32)
        else:
            low = -8 * d
        values = q * d + low
    return np.asarray(values.reshape(blocks.rows.shape[0], blocks.columns))


def _bytes(values: Array) -> Array:
    return values[..., None].view(np.uint8)


def _nibbles(steps: Array) -> Array:
    q = np.clip(np.rint(steps), 0, 15).astype(np.uint8)
    return np.asarray(q[..., :16] | q[..., 16:] << 4)


class SmallCheckpoint:
    """A decoder of random weights: `linear` and `table` name the kinds of stored blocks."""

    def __init__(
        self, linear: str = "Q4_1", table: str = "Q8_0", seed: int = 0, **changes: Any
    ) -> None:
        self.config = {
            "model_type": "llama",
            "vocab_size": 200,
            "hidden_size": 96,
            "intermediate_size": 160,
            "num_hidden_layers": 2,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            **changes,
        }
        self.source = Path("small")
        self._random = np.random.default_rng(seed)
        self._stored: dict[str, Blocks] = {}
        self._floats: dict[str, Array] = {}
        self.decoder = DecoderConfig.read(self.config, self.source)
        self._fill(linear, table)

    def _fill(self, linear: str, table: str) -> None:
        shape = self.decoder
        hidden, inner = shape.hidden_size, shape.intermediate_size
        sizes = {
            "self_attn.q_proj": (shape.queries, hidden, shape.qkv_bias),
            "self_attn.k_proj": (shape.keys, hidden, shape.qkv_bias),
            "self_attn.v_proj": (shape.keys, hidden, shape.qkv_bias),
            "self_attn.o_proj": (hidden, shape.queries, shape.o_bias),
            "mlp.gate_proj": (inner, hidden, shape.mlp_bias),
            "mlp.up_proj": (inner, hidden, shape.mlp_bias),
            "mlp.down_proj": (hidden, inner, shape.mlp_bias),
        }
        for layer in range(shape.num_hidden_layers):
            start = f"model.layers.{layer}."
            for name, (rows, columns, bias) in sizes.items():
                self._store(f"{start}{name}.weight", linear, rows, columns, columns**-0.5)
                if bias:
                    self._floats[f"{start}{name}.bias"] = self._normal(rows) * np.float32(0.2)
            for name in ("input_layernorm", "post_attention_layernorm"):
                self._floats[f"{start}{name}.weight"] = 1 + self._normal(hidden) * np.float32(0.1)
            for name in ("q_norm", "k_norm") if shape.qk_norm else ():
                gains = 1 + self._normal(shape.head_dim) * np.float32(0.1)
                self._floats[f"{start}self_attn.{name}.weight"] = gains
        self._floats["model.norm.weight"] = 1 + self._normal(hidden) * np.float32(0.1)
        self._store("model.embed_tokens.weight", table, shape.vocab_size, hidden, 0.3)
        if not shape.tie_word_embeddings:
            self._store("lm_head.weight", table, shape.vocab_size, hidden, hidden**-0.5)

    def _normal(self, *shape: int) -> Array:
        return self._random.standard_normal(shape, dtype=np.float32)

    def _store(self, name: str, kind: str, rows: int, columns: int, spread: float) -> None:
        weights = self._normal(rows, columns) * np.float32(spread)
        if kind == "F32":
            self._floats[name] = weights
        else:
            self._stored[name] = Blocks(kind, quantise(kind, weights), columns)

    @property
    def names(self) -> frozenset[str]:
        """Every weight's name."""
        return frozenset(self._stored) | frozenset(self._floats)

    def kind(self, name: str) -> str:
        """The format a weight is stored in."""
        return self._stored[name].kind if name in self._stored else "F32"

    def shape(self, name: str) -> tuple[int, ...]:
        """Rows before columns."""
        if name in self._floats:
            return self._floats[name].shape
        return (self._stored[name].rows.shape[0], self._stored[name].columns)

    def blocks(self, name: str) -> Blocks | None:
        """Stored quantised rows, None where the weight is stored as floats."""
        return self._stored.get(name)

    def tensor(self, name: str) -> torch.Tensor:
        """The weight in float32."""
        if name in self._floats:
            return torch.from_numpy(self._floats[name])
        return torch.from_numpy(dequantise(self._stored[name]))


@dataclass
class LowRank:
    """An adapter as the backend reads it: pairs of A (r, in) and B (out, r)."""

    key: str
    rank: int
    scale: float
    pairs: dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]]


def random_adapter(checkpoint: SmallCheckpoint, rank: int, seed: int = 1) -> LowRank:
    """A low-rank adapter on all seven weights of each layer."""
    random = np.random.default_rng(seed)
    pairs = {}
    for layer in range(checkpoint.decoder.num_hidden_layers):
        for name in LINEARS:
            part = "self_attn" if name[0] in "qkvo" else "mlp"
            weight = checkpoint.tensor(f"model.layers.{layer}.{part}.{name}.weight")
            out, inner = weight.shape
            a = random.standard_normal((rank, inner), dtype=np.float32) * np.float32(inner**-0.5)
            b = random.standard_normal((out, rank), dtype=np.float32) * np.float32(0.3)
            pairs[layer, name] = (torch.from_numpy(a), torch.from_numpy(b))
    return LowRank(f"random {seed}", rank, rank**-0.5, pairs)


class Reference:
    """The model in plain numpy, one row at a time; caches are lists that it keeps itself."""

    def __init__(self, checkpoint: SmallCheckpoint, adapter: LowRank | None = None) -> None:
        self.model = checkpoint
        self.shape = checkpoint.decoder
        self.adapter = adapter
        self._seen: dict[tuple[int, int, int], tuple[Array, Array]] = {}  # slot, layer, column
        self._weights: dict[str, Array] = {}

    def logits(self, rows: Rows, reads: Sequence[int]) -> Array:
        """Float32 logits (len(reads), V)."""
        x = np.stack([self._weight("model.embed_tokens.weight")[token] for token in rows.tokens])
        for layer in range(self.shape.num_hidden_layers):
            x = x + self._attention(layer, self._norm(x, layer, "input_layernorm"), rows)
            x = x + self._mlp(layer, self._norm(x, layer, "post_attention_layernorm"))
        x = _rms(x, self._weight("model.norm.weight"), self.shape.rms_norm_eps)
        tied = self.shape.tie_word_embeddings
        head = self._weight("model.embed_tokens.weight" if tied else "lm_head.weight")
        x = x[list(reads)]
        near = rounded(x)
        return np.asarray((near + rounded(x - near)) @ head.T)

    def _attention(self, layer: int, x: Array, rows: Rows) -> Array:
        shape, count = self.shape, len(rows.tokens)
        heads, groups, width = shape.num_attention_heads, shape.num_key_value_heads, shape.head_dim
        q = self._linear(layer, "q_proj", x).reshape(count, heads, width)
        k = self._linear(layer, "k_proj", x).reshape(count, groups, width)
        v = self._linear(layer, "v_proj", x).reshape(count, groups, width)
        if shape.qk_norm:
            start = f"model.layers.{layer}.self_attn."
            q = _rms(q, self._weight(f"{start}q_norm.weight"), shape.rms_norm_eps)
            k = _rms(k, self._weight(f"{start}k_norm.weight"), shape.rms_norm_eps)
        cos, sin = (table.numpy()[:, None] for table in rotary_tables(shape, rows.positions))
        q, k = _turn(q, cos, sin), bfloat16(_turn(k, cos, sin))
        v = bfloat16(v)
        for t in range(count):
            self._seen[rows.slots[t], layer, rows.columns[t]] = (k[t], v[t])
        mixed = np.stack([self._attend(layer, q[t], rows, t) for t in range(count)])
        return self._linear(layer, "o_proj", mixed.reshape(count, -1))

    def _attend(self, layer: int, q: Array, rows: Rows, t: int) -> Array:
        shape = self.shape
        window = shape.windows[layer]
        gap = max(rows.starts[t] - rows.prefixes[t], 0)
        visible = []
        for column in range(rows.columns[t] + 1):
            own = rows.starts[t] <= column
            position = column - gap if own and rows.starts[t] >= rows.prefixes[t] else column
            near = window is None or position > rows.columns[t] - gap - window
            if near and (own or column < rows.prefixes[t]):
                visible.append(column)
        pairs = [self._seen[rows.slots[t], layer, column] for column in visible]
        keys, values = (np.stack(part) for part in zip(*pairs, strict=True))  # (S, G, D)
        share = shape.num_attention_heads // shape.num_key_value_heads
        out = []
        for head in range(shape.num_attention_heads):
            scaled = bfloat16(q[head] * np.float32(shape.head_dim**-0.5 * np.log2(np.e)))
            scores = keys[:, head // share] @ scaled
            odds = np.exp2(scores - scores.max())
            out.append(bfloat16(odds) @ values[:, head // share] / odds.sum())
        return np.stack(out)

    def _mlp(self, layer: int, x: Array) -> Array:
        gate, up = self._linear(layer, "gate_proj", x), self._linear(layer, "up_proj", x)
        return self._linear(layer, "down_proj", gate / (1 + np.exp(-gate)) * up)

    def _linear(self, layer: int, name: str, x: Array) -> Array:
        part = "self_attn" if name[0] in "qkvo" else "mlp"
        start = f"model.layers.{layer}.{part}.{name}"
        y = rounded(x) @ self._weight(f"{start}.weight").T
        if f"{start}.bias" in self.model.names:
            y = y + self._weight(f"{start}.bias")
        if self.adapter is not None and (layer, name) in self.adapter.pairs:
            a, b = (part.numpy() for part in self.adapter.pairs[layer, name])
            inner = _steps(rounded(x) @ _steps(a, 127, 32).T, 32767)
            y = y + np.float32(self.adapter.scale) * (inner @ _steps(b, 127).T)
        return np.asarray(y)

    def _norm(self, x: Array, layer: int, name: str) -> Array:
        return _rms(x, self._weight(f"model.layers.{layer}.{name}.weight"), self.shape.rms_norm_eps)

    def _weight(self, name: str) -> Array:
        if name not in self._weights:
            self._weights[name] = self.model.tensor(name).numpy()
        return self._weights[name]


def rounded(x: Array) -> Array:
    """Activations (..., C) as 8-bit steps of each group of 32 hold them."""
    groups = x.reshape(*x.shape[:-1], -1, 32)
    scale = np.abs(groups).max(-1, keepdims=True) / np.float32(127)
    steps = np.rint(groups / np.where(scale == 0, np.float32(1), scale))
    return np.asarray((steps * scale).reshape(x.shape))


def _steps(x: Array, most: int, width: int | None = None) -> Array:
    """Factors (R, C) in whole steps of each row's, or `width` columns', largest / `most`.

    The steps of 8-bit weights are stored in half precision.
    """
    groups = x.reshape(len(x), -1, width or x.shape[1])
    step = np.abs(groups).max(-1, keepdims=True) / np.float32(most)
    whole = np.rint(groups / np.where(step == 0, np.float32(1), step))
    if most == 127:
        step = step.astype(np.float16).astype(np.float32)
    return np.asarray((whole * step).reshape(x.shape))


def bfloat16(x: Array) -> Array:
    """The nearest bfloat16 of each number, in float32."""
    return torch.from_numpy(x).to(torch.bfloat16).to(torch.float32).numpy()


def _rms(x: Array, gains: Array, eps: float) -> Array:
    return np.asarray(x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(eps)) * gains)


def _turn(x: Array, cos: Array, sin: Array) -> Array:
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def chunked(
    forward: Callable[[Rows, Sequence[int]], Array], tokens: Sequence[int], size: int
) -> Array:
    """Logits (T, V) of a sequence fed in chunks of `size` tokens."""
    made = []
    for at in range(0, len(tokens), size):
        piece = tokens[at : at + size]
        made.append(forward(Rows.sequence(piece, at), range(len(piece))))
    return np.concatenate(made)
