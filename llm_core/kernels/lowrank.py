"""Low-rank adapters in the kernel's layout, as `lm_adapter` of `src/api.h` describes it.

Factors are rounded to 8 bits, A with a scale for each 32 columns of a row and B with one for
each row: they add half of what bfloat16 would to the bytes that every token waits for.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_core.errors import ModelError
from llm_core.formats.quantise import quantise
from llm_core.kernels import library as c
from llm_core.kernels.library import Array, address
from llm_core.kernels.memory import zeroed
from llm_core.kernels.pack import pack_matrix

if TYPE_CHECKING:
    from llm_core.adapters import Adapter
    from llm_core.kernels.pack import PackedModel

LANES = 16  # the rank is padded to a multiple of it, and so are rows
_PIECE = 192  # columns of A that are multiplied together
_STAGES = (("q", "k", "v"), ("o",), ("gate", "up"), ("down",))  # matrices read together
_FACTORS = ("a", "steps", "b")
_MOST_HUGE = 1 << 30  # bytes; all of an adapter is read


@dataclass(frozen=True)
class PackedAdapter:
    """An adapter's factors in 8 bits, and the handle that points to them."""

    handle: c.LowRank
    held: tuple[Any, ...]


@dataclass(frozen=True)
class _Blocks:
    """Rows of Q8_0 blocks, as `pack_matrix` takes them."""

    rows: Array
    columns: int
    kind: str = "Q8_0"


@dataclass(frozen=True)
class _Factors:
    """One pair: its arrays by the names of lm_pair, and its scale."""

    arrays: dict[str, Array]
    scale: float


def pack_adapter(adapter: "Adapter", packed: "PackedModel") -> PackedAdapter:
    """Lay the factors out; raises ModelError where they do not fit the model's matrices."""
    rank = -(-adapter.rank // LANES) * LANES
    layers = packed.shape.num_hidden_layers
    pairs = (c.Pair * (layers * len(c.PARTS)))()
    factors: dict[tuple[int, str], _Factors] = {}
    for (layer, target), (a, b) in adapter.pairs.items():
        part = target.removesuffix("_proj")
        size = packed.sizes.get(f"{layer}.{part}")
        if part not in c.PARTS or size != (b.shape[0], a.shape[1]) or a.shape[0] != b.shape[1]:
            raise ModelError(
                f"the adapter's {target} of layer {layer} is {tuple(b.shape)} x {tuple(a.shape)}, "
                "which does not fit this model; use the adapter with the model it was trained on"
            )
        first, second = a.detach().float().numpy(), b.detach().float().numpy()
        factors[layer, part] = _factors(first, second, rank, adapter.scale)
    laid = _lay_out(factors, layers)
    for (layer, part), arrays in laid.items():
        places = (address(arrays[name]) for name in ("a", "b", "steps"))
        pair = c.Pair(*places, factors[layer, part].scale, 0)
        pairs[layer * len(c.PARTS) + c.PARTS.index(part)] = pair
    return PackedAdapter(c.LowRank(rank, 0, pairs), (pairs, laid))


def _lay_out(
    factors: dict[tuple[int, str], _Factors], layers: int
) -> dict[tuple[int, str], dict[str, Array]]:
    """The same arrays in one piece of memory, in the order in which a token reads them."""
    order = [
        (layer, part, name)
        for layer in range(layers)
        for stage in _STAGES
        for name in _FACTORS
        for part in stage
        if (layer, part) in factors
    ]
    sources = [factors[layer, part].arrays[name] for layer, part, name in order]
    sizes = [-(-source.nbytes // 64) * 64 for source in sources]
    memory, start = zeroed(sum(sizes), _MOST_HUGE), 0
    laid: dict[tuple[int, str], dict[str, Array]] = {name: {} for name in factors}
    for (layer, part, name), source, size in zip(order, sources, sizes, strict=True):
        memory[start : start + source.nbytes] = source.reshape(-1).view(np.uint8)
        laid[layer, part][name] = memory[start : start + source.nbytes]
        start += size
    return laid


def _factors(a: Array, b: Array, rank: int, scale: float) -> _Factors:
    """A (r, in) and B (out, r), rounded; powers of two keep their steps well within a half."""
    unit, other = _power(a), _power(b)
    steps, quants = _pack_b(_padded(b / other, -(-b.shape[0] // LANES) * LANES, rank))
    first = _pack_a(_padded(a / unit, rank, a.shape[1]))
    arrays = {"a": first, "steps": steps, "b": quants}
    return _Factors(arrays, float(scale * unit * other))


def _power(values: Array) -> np.float32:
    """The power of two at or above the largest value; 1 where all are 0."""
    largest = float(np.abs(values).max(initial=0.0))
    return np.float32(2.0 ** np.ceil(np.log2(largest))) if largest > 0 else np.float32(1)


def _pack_a(a: Array) -> Array:
    """A (r, in) as Q8_0 matrices of pieces of its columns, one after the other."""
    pieces = [a[:, start : start + _PIECE] for start in range(0, a.shape[1], _PIECE)]
    packed = [
        pack_matrix(_Blocks(quantise(np.ascontiguousarray(piece), "Q8_0"), piece.shape[1]))
        for piece in pieces
    ]
    return np.concatenate([block.reshape(-1) for block in packed])


def _pack_b(b: Array) -> tuple[Array, Array]:
    """The steps (out,) of B (out, r) in half precision, and B as [out / 16][r / 2][16][2]."""
    steps = np.abs(b).max(axis=1, keepdims=True) / np.float32(127)
    quants = np.rint(np.divide(b, steps, out=np.zeros_like(b), where=steps > 0)).astype(np.int8)
    shaped = quants.reshape(-1, LANES, b.shape[1] // 2, 2).transpose(0, 2, 1, 3)
    return steps[:, 0].astype(np.float16), np.ascontiguousarray(shaped)


def _padded(values: Array, rows: int, columns: int) -> Array:
    """The values with zeros up to (rows, columns)."""
    wide = np.zeros((rows, columns), dtype=np.float32)
    wide[: values.shape[0], : values.shape[1]] = values
    return wide
