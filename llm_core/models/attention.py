"""Attention and its masks, shared by the decoder, the encoder and the encoder-decoder.

A mask is True where a row may look. Every row must see at least one column: a row that sees
none has no result. Source: Vaswani et al. 2017; grouped heads: Ainslie et al. 2023.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_FEW = 8  # rows up to which query heads of a group are put side by side


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Weighted means of the values, (B, H, T, D).

    q (B, H, T, D); k and v (B, G, S, D), where H is a multiple of G and H / G neighbouring
    query heads share a key head; mask (B or 1, 1, T or 1, S), boolean or additive. `causal`
    instead of a mask lets row t see columns 0..t.
    """
    batch, heads, rows, width = q.shape
    groups = k.shape[1]
    if heads == groups:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    if rows == 1 or (rows <= _FEW and not causal):
        # The heads of a group become rows of one head: their keys are read once, not H / G times.
        share = heads // groups
        if mask is not None and rows > 1 and mask.shape[2] > 1:
            mask = mask.repeat(1, 1, share, 1)
        folded = q.reshape(batch, groups, share * rows, width)
        means = scaled_dot_product_attention(folded, k, v, attn_mask=mask)
        return means.reshape(batch, heads, rows, width)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, H D) to (B, H, T, D)."""
    batch, rows, width = x.shape
    return x.view(batch, rows, heads, width // heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, D) to (B, T, H D)."""
    batch, heads, rows, width = x.shape
    return x.transpose(1, 2).reshape(batch, rows, heads * width)


def causal_mask(rows: int, columns: int | None = None) -> Tensor:
    """(1, 1, T, S): the last row sees every column, each row before it one less."""
    columns = rows if columns is None else columns
    mask = torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)
    return mask[None, None]


def padding_mask(lengths: Sequence[int] | Tensor, columns: int | None = None) -> Tensor:
    """(B, 1, 1, S): sequence b sees its first lengths[b] columns."""
    ends = torch.as_tensor(lengths)
    columns = int(ends.max()) if columns is None else columns
    return (torch.arange(columns, device=ends.device) < ends[:, None])[:, None, None]


def range_mask(
    prefixes: Tensor,
    starts: Tensor,
    columns: Tensor,
    total: int,
    window: int | None = None,
) -> Tensor:
    """(1, 1, T, S): row t sees [0, prefixes[t]) and [starts[t], columns[t]].

    prefixes, starts and columns (T,); `total` is S. Behind a prefix that ends before the
    own range starts, positions go on where the prefix ended; `window` limits how many
    positions back a row sees, its own counted.
    """
    at = torch.arange(total, device=columns.device)  # (S,)
    own = (at >= starts[:, None]) & (at <= columns[:, None])
    mask = own | (at < prefixes[:, None])
    if window is not None:
        gap = (starts - prefixes).clamp(min=0)[:, None]
        position = torch.where(at >= torch.maximum(starts, prefixes)[:, None], at - gap, at)
        mask &= position > columns[:, None] - gap - window
    return mask[None, None]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The same mask as numbers to add to scores: 0 where a row may look, else -inf."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -math.inf)
