"""Attention equals loops over heads, rows and columns, for every mask."""

import math

import pytest
import torch
from torch import Tensor

from llm_core.models.attention import (
    additive,
    attend,
    causal_mask,
    merge_heads,
    padding_mask,
    range_mask,
    split_heads,
)


def slowly(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """The definition, one number at a time; mask (B, T, S)."""
    out = torch.zeros_like(q)
    batch, heads, rows, width = q.shape
    share = heads // k.shape[1]
    for b in range(batch):
        for h in range(heads):
            for t in range(rows):
                seen = [s for s in range(k.shape[2]) if mask[b, t, s]]
                scores = [float(q[b, h, t] @ k[b, h // share, s]) / math.sqrt(width) for s in seen]
                top = max(scores)
                weights = [math.exp(score - top) for score in scores]
                for s, weight in zip(seen, weights, strict=True):
                    out[b, h, t] += weight / sum(weights) * v[b, h // share, s]
    return out


@pytest.mark.parametrize("groups", [6, 2, 1])
@pytest.mark.parametrize("rows", [1, 3, 12])
def test_grouped_heads_equal_the_definition_under_a_causal_mask(rows: int, groups: int) -> None:
    random = torch.Generator().manual_seed(rows)
    q = torch.randn(2, 6, rows, 8, generator=random)
    k, v = torch.randn(2, 2, groups, 14, 8, generator=random)
    mask = causal_mask(rows, 14)
    expected = slowly(q, k, v, mask[0].expand(2, -1, -1))
    torch.testing.assert_close(attend(q, k, v, mask), expected, atol=1e-5, rtol=0)
    added = additive(mask, torch.float32)
    torch.testing.assert_close(attend(q, k, v, added), expected, atol=1e-5, rtol=0)
    if rows == 12:
        square = attend(q, k[:, :, :12], v[:, :, :12], causal=True)
        expected = attend(q, k[:, :, :12], v[:, :, :12], causal_mask(12))
        torch.testing.assert_close(square, expected, atol=1e-5, rtol=0)


def test_padding_changes_nothing() -> None:
    random = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 3, 8, generator=random)
    k, v = torch.randn(2, 2, 2, 7, 8, generator=random)
    both = attend(q, k, v, padding_mask([7, 4]))
    short = attend(q[1:], k[1:, :, :4], v[1:, :, :4])
    torch.testing.assert_close(both[1:], short, atol=1e-6, rtol=0)


def test_heads_split_and_merge_back() -> None:
    x = torch.arange(24.0).view(1, 3, 8)
    heads = split_heads(x, 4)
    assert heads.shape == (1, 4, 3, 2) and heads[0, 1, 2].tolist() == [18.0, 19.0]
    assert torch.equal(merge_heads(heads), x)


@pytest.mark.parametrize("window", [None, 1, 3, 6])
def test_ranges_equal_their_definition(window: int | None) -> None:
    # Two branches behind a prefix of 4 columns, in columns 4-6 and 7-9, and a plain row.
    prefixes = [4, 4, 4, 4, 4, 4, 0]
    starts = [4, 4, 4, 7, 7, 7, 0]
    columns = [4, 5, 6, 7, 8, 9, 5]
    mask = range_mask(*(torch.tensor(x) for x in (prefixes, starts, columns)), 10, window)[0, 0]
    for t, (prefix, start, column) in enumerate(zip(prefixes, starts, columns, strict=True)):
        place = {s: s for s in range(prefix)}
        place |= {s: prefix + s - start for s in range(start, column + 1)}
        seen = {s for s, at in place.items() if window is None or at > place[column] - window}
        assert {s for s in range(10) if mask[t, s]} == seen
