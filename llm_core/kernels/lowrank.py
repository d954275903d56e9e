"""Low-rank adapters in the kernel's layout, as `lm_adapter` of `src/api.h` describes it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from llm_core.errors import ModelError
from llm_core.kernels import library as c
from llm_core.kernels.library import Array, address
from llm_core.kernels.memory import zeroed

if TYPE_CHECKING:
    from llm_core.adapters import Adapter
    from llm_core.kernels.pack import PackedModel

LANES = 16  # the rank is padded to a multiple of it, and so are rows
_STAGES = (("q", "k", "v"), ("o",), ("gate", "up"), ("down",))  # matrices read together
_MOST_HUGE = 1 << 30  # bytes; all of an adapter is read


@dataclass(frozen=True)
class PackedAdapter:
    """An adapter's factors in bfloat16, and the handle that points to them."""

    handle: c.LowRank
    held: tuple[Any, ...]


def pack_adapter(adapter: "Adapter", packed: "PackedModel") -> PackedAdapter:
    """Lay the factors out; raises ModelError where they do not fit the model's matrices."""
    rank = -(-adapter.rank // LANES) * LANES
    layers = packed.shape.num_hidden_layers
    pairs = (c.Pair * (layers * len(c.PARTS)))()
    factors: dict[tuple[int, str], tuple[Array, Array]] = {}
    for (layer, target), (a, b) in adapter.pairs.items():
        part = target.removesuffix("_proj")
        size = packed.sizes.get(f"{layer}.{part}")
        if part not in c.PARTS or size != (b.shape[0], a.shape[1]) or a.shape[0] != b.shape[1]:
            raise ModelError(
                f"the adapter's {target} of layer {layer} is {tuple(b.shape)} x {tuple(a.shape)}, "
                "which does not fit this model; use the adapter with the model it was trained on"
            )
        factors[layer, part] = _pack_a(a, rank), _pack_b(b, rank)
    laid = _lay_out(factors, layers)
    for (layer, part), (first, second) in laid.items():
        pairs[layer * len(c.PARTS) + c.PARTS.index(part)] = c.Pair(address(first), address(second))
    return PackedAdapter(c.LowRank(rank, adapter.scale, pairs), (pairs, laid))


def _lay_out(
    factors: dict[tuple[int, str], tuple[Array, Array]], layers: int
) -> dict[tuple[int, str], tuple[Array, Array]]:
    """The same factors in one piece of memory, in the order in which a token reads them."""
    order = [
        (layer, part, which)
        for layer in range(layers)
        for stage in _STAGES
        for which in (0, 1)
        for part in stage
        if (layer, part) in factors
    ]
    sizes = [-(-factors[layer, part][which].nbytes // 64) * 64 for layer, part, which in order]
    memory, start = zeroed(sum(sizes), _MOST_HUGE), 0
    laid: dict[tuple[int, str], list[Array]] = {name: [] for name in factors}
    for (layer, part, which), size in zip(order, sizes, strict=True):
        source = factors[layer, part][which]
        memory[start : start + source.nbytes] = source.reshape(-1).view(np.uint8)
        laid[layer, part].append(memory[start : start + source.nbytes])
        start += size
    return {name: (first, second) for name, (first, second) in laid.items()}


def _pack_a(a: Tensor, rank: int) -> Array:
    """A (r, in) as [in / 2][rank][2]."""
    wide = _padded(a, rank, a.shape[1])
    return np.ascontiguousarray(wide.reshape(rank, -1, 2).transpose(1, 0, 2))


def _pack_b(b: Tensor, rank: int) -> Array:
    """B (out, r) as [out16 / 16][rank / 2][16][2]."""
    wide = _padded(b, -(-b.shape[0] // LANES) * LANES, rank)
    return np.ascontiguousarray(wide.reshape(-1, LANES, rank // 2, 2).transpose(0, 2, 1, 3))


def _padded(values: Tensor, rows: int, columns: int) -> Array:
    """The bits of the values in bfloat16, with zeros up to (rows, columns)."""
    bits = values.detach().to(torch.bfloat16).contiguous().view(torch.int16).numpy()
    wide = np.zeros((rows, columns), dtype=np.int16)
    wide[: bits.shape[0], : bits.shape[1]] = bits
    return wide
