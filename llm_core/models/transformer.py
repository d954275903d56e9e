"""The original encoder-decoder Transformer: a source sequence in, a target one out.

    source -> embedding + positions -> N encoder blocks -> memory
    target -> embedding + positions -> N decoder blocks (which read the memory) -> logits
    each sublayer: x = norm(x + sublayer(x))

Source: Vaswani et al. 2017. What is unusual: positions are sinusoidal, learned or rotary by
config; the cache is an argument; decoding with it and without it is one code path.
"""

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch reader knows

from llm_core.models.attention import attend, causal_mask, merge_heads, split_heads
from llm_core.models.positions import Rotation, angle_tables, sinusoids

Positions = Literal["sinusoidal", "learned", "rotary"]
_SIZES = ("source_vocab", "target_vocab", "width", "inner", "heads", "max_length")
_BASE = 10000.0  # of the slowest wave, in positions


@dataclass(frozen=True)
class TransformerConfig:
    """Everything that decides what the model computes, apart from its weights.

    `shared_embedding`: source, target and output share one matrix; else each has its own.
    Raises ValueError for sizes that make no model.
    """

    source_vocab: int
    target_vocab: int
    width: int = 512
    inner: int = 2048
    heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    positions: Positions = "sinusoidal"
    max_length: int = 512  # of either sequence
    activation: Literal["relu", "gelu"] = "relu"
    norm_eps: float = 1e-5
    dropout: float = 0.0  # in training
    shared_embedding: bool = False

    def __post_init__(self) -> None:
        for name in (*_SIZES, "encoder_layers", "decoder_layers"):
            least = 1 if name in _SIZES else 0
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} does not make {self.heads} heads of even width")
        if self.positions not in ("sinusoidal", "learned", "rotary"):
            raise ValueError(f"positions {self.positions!r} are not sinusoidal, learned or rotary")
        if self.activation not in ("relu", "gelu"):
            raise ValueError(f"activation {self.activation!r} is not relu or gelu")
        if self.shared_embedding and self.source_vocab != self.target_vocab:
            raise ValueError(
                f"vocabularies of {self.source_vocab} and {self.target_vocab} cannot be shared"
            )


class LayerCache:
    """Keys and values of one decoder layer: the target's so far, and the memory's."""

    def __init__(self, memory: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor]) -> None:
        self.memory = memory  # (B, H, S, D) each, computed once
        self.own = own  # (B, H, capacity, D) each


class TransformerCache:
    """What decoding remembers of `length` target tokens; made by `Transformer.new_cache`."""

    def __init__(self, layers: list[LayerCache], capacity: int) -> None:
        self.layers = layers
        self.capacity = capacity
        self.length = 0

    def select(self, rows: Tensor) -> None:
        """Keep these rows (B',) of the batch, in this order; a row may come several times."""
        for layer in self.layers:
            key, value = layer.own
            # Only the filled part is worth copying; the rest is written before it is read.
            kept = [part[rows, :, : self.length] for part in (key, value)]
            fresh = [part.new_empty(len(rows), *part.shape[1:]) for part in (key, value)]
            for new, old in zip(fresh, kept, strict=True):
                new[:, :, : self.length] = old
            layer.own = fresh[0], fresh[1]
            layer.memory = layer.memory[0][rows], layer.memory[1][rows]


class Attention(nn.Module):
    """Multi-head attention from one sequence to itself or to another."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self._heads = config.heads
        self.q = nn.Linear(config.width, config.width)
        self.k = nn.Linear(config.width, config.width)
        self.v = nn.Linear(config.width, config.width)
        self.out = nn.Linear(config.width, config.width)

    def keys(self, x: Tensor, rotate: Rotation | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, S, D) of a sequence (B, S, C)."""
        k, v = split_heads(self.k(x), self._heads), split_heads(self.v(x), self._heads)
        return (k if rotate is None else rotate(k)), v

    def forward(
        self,
        x: Tensor,
        keys: tuple[Tensor, Tensor],
        mask: Tensor | None,
        rotate: Rotation | None = None,
    ) -> Tensor:
        """(B, T, C) to (B, T, C); `mask` is True where a row may look."""
        q = split_heads(self.q(x), self._heads)  # (B, H, T, D)
        q = q if rotate is None else rotate(q)
        return cast(Tensor, self.out(merge_heads(attend(q, *keys, mask))))


class FeedForward(nn.Module):
    """Two layers with a bend between them."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self._activation = F.relu if config.activation == "relu" else F.gelu
        self.up = nn.Linear(config.width, config.inner)
        self.down = nn.Linear(config.inner, config.width)
        self._drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        return cast(Tensor, self.down(self._drop(self._activation(self.up(x)))))


class AddNorm(nn.Module):
    """norm(x + change): what closes every sublayer."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self._drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, change: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        return cast(Tensor, self.norm(x + self._drop(change)))


class EncoderBlock(nn.Module):
    """Attention over the whole source, then the feed-forward part."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention, self.close_attention = Attention(config), AddNorm(config)
        self.feed_forward, self.close_feed_forward = FeedForward(config), AddNorm(config)

    def forward(self, x: Tensor, mask: Tensor | None, rotate: Rotation | None) -> Tensor:
        """(B, S, C) to (B, S, C)."""
        keys = self.attention.keys(x, rotate)
        x = self.close_attention(x, self.attention(x, keys, mask, rotate))
        return cast(Tensor, self.close_feed_forward(x, self.feed_forward(x)))


class DecoderBlock(nn.Module):
    """Attention over the target so far, over the memory, then the feed-forward part."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention, self.close_attention = Attention(config), AddNorm(config)
        self.cross, self.close_cross = Attention(config), AddNorm(config)
        self.feed_forward, self.close_feed_forward = FeedForward(config), AddNorm(config)

    def forward(
        self,
        x: Tensor,
        cache: LayerCache,
        at: int,
        masks: tuple[Tensor | None, Tensor | None],
        rotate: Rotation | None,
    ) -> Tensor:
        """(B, T, C) to (B, T, C) for target positions from `at`; fills the cache."""
        end = at + x.shape[1]
        for column, new in zip(cache.own, self.attention.keys(x, rotate), strict=True):
            column[:, :, at:end] = new
        own = (cache.own[0][:, :, :end], cache.own[1][:, :, :end])
        x = self.close_attention(x, self.attention(x, own, masks[0], rotate))
        x = self.close_cross(x, self.cross(x, cache.memory, masks[1]))
        return cast(Tensor, self.close_feed_forward(x, self.feed_forward(x)))


class Transformer(nn.Module):
    """Embeddings, encoder, decoder and output layer.

    Embeddings are scaled by the root of the width. Rotary positions turn queries and keys
    within a sequence; between target and source there is no common position to turn by.
    """

    table: Tensor
    frequencies: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.source = nn.Embedding(config.source_vocab, config.width)
        shared = config.shared_embedding
        self.target = self.source if shared else nn.Embedding(config.target_vocab, config.width)
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_layers))
        self.head = nn.Linear(config.width, config.target_vocab)
        if shared:
            self.head.weight = self.source.weight
        self._drop = nn.Dropout(config.dropout)
        if config.positions == "learned":
            self.source_positions = nn.Embedding(config.max_length, config.width)
            self.target_positions = nn.Embedding(config.max_length, config.width)
        table = sinusoids(config.max_length, config.width)
        self.register_buffer("table", table, persistent=False)
        half = config.width // config.heads
        steps = torch.arange(0, half, 2, dtype=torch.float32) / half
        self.register_buffer("frequencies", _BASE**-steps, persistent=False)
        self.apply(_initialise)

    def forward(self, source: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of what follows each target token.

        source (B, S) and target (B, T) token ids, padded on the right; `lengths` (B,) of the
        sources, None where none is padded. Row t of the target sees rows 0..t.
        """
        memory, mask = self.encode(source, lengths)
        return self.decode(target, self.new_cache(memory, target.shape[1]), mask)

    def encode(self, source: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The memory (B, S, C) and the mask (B, 1, 1, S) that hides its padding."""
        mask = None
        if lengths is not None:
            if int(lengths.min()) < 1 or int(lengths.max()) > source.shape[1]:
                raise ValueError(
                    f"sources of {int(lengths.min())} to {int(lengths.max())} tokens do not fit "
                    f"{source.shape[1]} columns, each at least one token"
                )
            at = torch.arange(source.shape[1], device=source.device)
            mask = (at < lengths[:, None])[:, None, None]  # (B, 1, 1, S)
        x, rotate = self._embed(source, 0, "source")
        for block in self.encoder:
            x = block(x, mask, rotate)
        return x, mask

    def new_cache(self, memory: Tensor, capacity: int) -> TransformerCache:
        """Room for `capacity` target tokens beside the keys and values of the memory.

        Raises ValueError where that is more than the config's `max_length`.
        """
        self._check(capacity)
        rows, heads = len(memory), self.config.heads
        shape = (rows, heads, capacity, self.config.width // heads)
        layers = []
        for block in self.decoder:
            assert isinstance(block, DecoderBlock)
            own = memory.new_empty(shape), memory.new_empty(shape)
            layers.append(LayerCache(block.cross.keys(memory), own))
        return TransformerCache(layers, capacity)

    def decode(self, target: Tensor, cache: TransformerCache, mask: Tensor | None) -> Tensor:
        """Logits (B, T, V) behind target tokens (B, T) that follow those in the cache."""
        at, rows = cache.length, target.shape[1]
        if at + rows > cache.capacity:
            raise ValueError(f"{at + rows} tokens do not fit a cache of {cache.capacity}")
        x, rotate = self._embed(target, at, "target")
        causal = causal_mask(rows, at + rows).to(x.device) if rows > 1 else None
        for block, layer in zip(self.decoder, cache.layers, strict=True):
            x = block(x, layer, at, (causal, mask), rotate)
        cache.length = at + rows
        return cast(Tensor, self.head(x))

    def _embed(
        self, ids: Tensor, at: int, side: Literal["source", "target"]
    ) -> tuple[Tensor, Rotation | None]:
        """Vectors (B, T, C) of tokens at positions from `at`, and the rotation if any."""
        end = at + ids.shape[1]
        self._check(end)
        x = (self.source if side == "source" else self.target)(ids) * math.sqrt(self.config.width)
        if self.config.positions == "rotary":
            positions = torch.arange(at, end, device=ids.device)
            return self._drop(x), Rotation(*angle_tables(self.frequencies, 1.0, positions))
        table = self.table
        if self.config.positions == "learned":
            table = (self.source_positions if side == "source" else self.target_positions).weight
        return self._drop(x + table[at:end].to(x.dtype)), None

    def _check(self, length: int) -> None:
        if length > self.config.max_length:
            raise ValueError(
                f"{length} tokens are more than the {self.config.max_length} of this model"
            )


def _initialise(module: nn.Module) -> None:
    # Embeddings are scaled up by sqrt(width) when read, so they start as small as this.
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
