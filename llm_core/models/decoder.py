"""The decoder of the Llama family: Llama, SmolLM2, Mistral, Qwen 2 and Qwen 3 by config.

    tokens -> embedding -> N blocks -> norm -> head -> logits
    block:  x + attention(norm(x)), then x + feed-forward(norm(x))

What is unusual: a pass takes rows (T,), not a batch, so that a prompt, a step of several
sequences and the branches of a score are one code path; the caches arrive as arguments;
queries, keys and values are one matrix, and so are gate and up; every matrix takes an
optional low-rank change, so that adapters never touch the weights.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, silu

from llm_core.models.cache import Span
from llm_core.models.config import DecoderConfig
from llm_core.models.linear import Delta, Linear
from llm_core.models.norms import RMSNorm
from llm_core.models.positions import Rotation, angle_tables, inverse_frequencies


class BlockDeltas(NamedTuple):
    """The changes of one block's matrices; None where a matrix stays as it is."""

    qkv: Delta | None
    out: Delta | None
    gate_up: Delta | None
    down: Delta | None


class Attention(nn.Module):
    """Grouped-query attention over the caches of the rows' sequences."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self._layer = layer
        self._window = config.windows[layer]
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._width = config.head_dim
        self.qkv = Linear(config.hidden_size, config.queries + 2 * config.keys, config.qkv_bias)
        self.out = Linear(config.queries, config.hidden_size, config.o_bias)
        normed = config.qk_norm
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if normed else None
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if normed else None

    def forward(
        self, x: Tensor, rotate: Rotation, spans: Sequence[Span], delta: BlockDeltas | None
    ) -> Tensor:
        """(T, hidden) to (T, hidden); the spans lie one after another in the rows."""
        rows, heads, groups = x.shape[0], self._heads, self._groups
        parts = self.qkv(x, delta and delta.qkv).view(rows, heads + 2 * groups, self._width)
        parts = parts.transpose(0, 1)  # (H + 2G, T, D)
        v = parts[heads + groups :]  # (G, T, D)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = parts[:heads], parts[heads : heads + groups]
            parts = torch.cat((self.q_norm(q), self.k_norm(k)))
        turned = rotate(parts[: heads + groups])
        q, k = turned[:heads], turned[heads:]  # (H, T, D), (G, T, D)
        sizes = [span.rows for span in spans]
        pieces = zip(spans, *(torch.split(part, sizes, dim=1) for part in (q, k, v)), strict=True)
        means = [span.attend(self._layer, self._window, *part) for span, *part in pieces]
        y = means[0] if len(means) == 1 else torch.cat(means, dim=1)  # (H, T, D)
        y = y.transpose(0, 1).reshape(rows, heads * self._width)
        return self.out(y, delta and delta.out)  # type: ignore[no-any-return]  # nn.Module


class FeedForward(nn.Module):
    """down(silu(gate(x)) * up(x)). Source: Shazeer 2020 (SwiGLU)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        hidden, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate_up = Linear(hidden, 2 * inner, bias)
        self.down = Linear(inner, hidden, bias)

    def forward(self, x: Tensor, delta: BlockDeltas | None) -> Tensor:
        """(T, hidden) to (T, hidden)."""
        gate, up = self.gate_up(x, delta and delta.gate_up).chunk(2, dim=-1)  # (T, inner) each
        return self.down(silu(gate) * up, delta and delta.down)  # type: ignore[no-any-return]  # nn.Module


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind a norm and beside a short cut."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.feed_forward = FeedForward(config)

    def forward(
        self, x: Tensor, rotate: Rotation, spans: Sequence[Span], delta: BlockDeltas | None
    ) -> Tensor:
        """(T, hidden) to (T, hidden)."""
        x = x + self.attention(self.attention_norm(x), rotate, spans, delta)
        return x + self.feed_forward(self.feed_forward_norm(x), delta)  # type: ignore[no-any-return]  # nn.Module


class Decoder(nn.Module):
    """Embedding, blocks and head; weights come from `llm_core.models.load`."""

    frequencies: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        table = torch.empty(config.vocab_size, config.hidden_size)
        self.embedding = nn.Parameter(table, requires_grad=False)
        self.blocks = nn.ModuleList(Block(config, n) for n in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        tied = config.tie_word_embeddings
        self.head = None if tied else Linear(config.hidden_size, config.vocab_size, bias=False)
        frequencies = inverse_frequencies(config.rope, config.head_dim)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        spans: Sequence[Span],
        deltas: Sequence[BlockDeltas] | None = None,
    ) -> Tensor:
        """Tokens and positions (T,) to hidden states (T, hidden), before the last norm."""
        rotate = Rotation(*angle_tables(self.frequencies, self.config.rope.scale, positions))
        x = embedding(tokens, self.embedding)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotate, spans, deltas[layer] if deltas else None)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (R, hidden) to scores of the next token (R, V), in float32."""
        normed = self.norm(hidden)
        scores = linear(normed, self.embedding) if self.head is None else self.head(normed)
        return scores.float()

    def pack(self) -> "Decoder":
        """Lay the matrices out for this CPU; the decoder only computes from then on.

        A tied head becomes a matrix of its own, for rows of the embedding are still looked up.
        """
        if self.head is None:
            self.head = Linear(self.config.hidden_size, self.config.vocab_size, bias=False)
            self.head.weight = self.embedding
        for module in self.modules():
            if isinstance(module, Linear):
                module.pack()
        return self
