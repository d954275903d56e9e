"""The same decoder once more, slow and obvious: what the fast one is tested against.

No cache, no fused matrices, no library attention: loops over layers, heads and rows, in
float32, straight from the tensors of a checkpoint.
"""

import math

import torch
from torch import Tensor

from llm_core.adapters import Adapter
from llm_core.models.config import DecoderConfig
from llm_core.models.load import Weights
from llm_core.models.positions import rotary_tables


def reference_logits(weights: Weights, tokens: list[int], adapter: Adapter | None = None) -> Tensor:
    """Scores of the next token (T, V) after each of `tokens`, in float32."""
    config = DecoderConfig.read(weights.config, weights.source)
    table = weights.tensor("model.embed_tokens.weight").float()
    x = table[torch.tensor(tokens)]  # (T, hidden)
    for layer in range(config.num_hidden_layers):
        model = _Layer(weights, config, layer, adapter)
        x = x + model.attention(model.norm(x, "input_layernorm"))
        x = x + model.feed_forward(model.norm(x, "post_attention_layernorm"))
    x = rms(x, weights.tensor("model.norm.weight"), config.rms_norm_eps)
    tied = config.tie_word_embeddings
    return x @ (table if tied else weights.tensor("lm_head.weight").float()).T


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x over its root mean square, times a weight; the last dimension is the vector."""
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight.float()


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair of channels (i, i + D/2) of x (T, D) by its angle (T, D/2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class _Layer:
    """The matrices of one layer, read when they are used."""

    def __init__(
        self, weights: Weights, config: DecoderConfig, layer: int, adapter: Adapter | None
    ) -> None:
        self._weights = weights
        self._config = config
        self._layer = layer
        self._adapter = adapter
        self._name = f"model.layers.{layer}."

    def norm(self, x: Tensor, name: str) -> Tensor:
        """x (..., width) through the norm called `name`."""
        weight = self._weights.tensor(f"{self._name}{name}.weight")
        return rms(x, weight, self._config.rms_norm_eps)

    def attention(self, x: Tensor) -> Tensor:
        """(T, hidden) to (T, hidden)."""
        config, rows = self._config, x.shape[0]
        cos, sin = rotary_tables(config, range(rows))
        q, k, v = (self._matrix(x, "self_attn", name) for name in ("q_proj", "k_proj", "v_proj"))
        share = config.num_attention_heads // config.num_key_value_heads
        window = config.windows[self._layer] or rows
        means = []
        for head in range(config.num_attention_heads):
            query = self._turned(_head(q, head, config), "self_attn.q_norm", cos, sin)
            key = self._turned(_head(k, head // share, config), "self_attn.k_norm", cos, sin)
            value = _head(v, head // share, config)
            scores = query @ key.T / math.sqrt(config.head_dim)  # (T, T)
            for row in range(rows):
                scores[row, row + 1 :] = -math.inf
                scores[row, : max(0, row + 1 - window)] = -math.inf
            means.append(scores.softmax(-1) @ value)
        return self._matrix(torch.cat(means, dim=-1), "self_attn", "o_proj")

    def feed_forward(self, x: Tensor) -> Tensor:
        """(T, hidden) to (T, hidden)."""
        gate = self._matrix(x, "mlp", "gate_proj")
        up = self._matrix(x, "mlp", "up_proj")
        return self._matrix(gate * gate.sigmoid() * up, "mlp", "down_proj")

    def _turned(self, heads: Tensor, norm: str, cos: Tensor, sin: Tensor) -> Tensor:
        return turn(self.norm(heads, norm) if self._config.qk_norm else heads, cos, sin)

    def _matrix(self, x: Tensor, part: str, name: str) -> Tensor:
        where = f"{self._name}{part}.{name}"
        y = x @ self._weights.tensor(f"{where}.weight").float().T
        if f"{where}.bias" in self._weights.names:
            y = y + self._weights.tensor(f"{where}.bias").float()
        if self._adapter is not None and (self._layer, name) in self._adapter.pairs:
            down, up = self._adapter.pairs[self._layer, name]
            y = y + self._adapter.scale * (x @ down.T @ up.T)
        return y


def _head(x: Tensor, head: int, config: DecoderConfig) -> Tensor:
    return x[:, head * config.head_dim : (head + 1) * config.head_dim]
