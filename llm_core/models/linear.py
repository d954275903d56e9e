"""A matrix with a low-rank change beside it, laid out for the CPU where that is faster."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_ROWS = 256  # rows the layout is chosen for; it is as good for one


class Delta(NamedTuple):
    """A low-rank change of a matrix: x gains up(down(x)); scale is in `up` already."""

    down: Tensor  # (rank, in)
    up: Tensor  # (out, rank)


class Linear(nn.Module):
    """A matrix (out, in), with a bias where the model has one."""

    def __init__(self, size_in: int, size_out: int, bias: bool) -> None:
        super().__init__()
        self.weight: Tensor | None = nn.Parameter(
            torch.empty(size_out, size_in), requires_grad=False
        )
        self.bias = nn.Parameter(torch.empty(size_out), requires_grad=False) if bias else None
        self._packed: Tensor | None = None

    def forward(self, x: Tensor, delta: Delta | None = None) -> Tensor:
        """(T, in) to (T, out)."""
        if self._packed is None:
            assert self.weight is not None
            y = linear(x, self.weight, self.bias)
        else:
            y = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        if delta is None:
            return y
        return y + linear(linear(x, delta.down), delta.up)

    def pack(self) -> None:
        """Replace the matrix by a copy in oneDNN's blocked layout, where torch offers one.

        The sums stay the same. One row then takes a third to a half less time, 256 rows a
        tenth; the plain layout is read against the grain by a single row.
        """
        if self.weight is not None and can_pack(self.weight):
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.data, _ROWS)
            self.weight = None


def can_pack(matrix: Tensor) -> bool:
    """Whether this torch build has blocked matrices of this dtype for this CPU."""
    ops = torch.ops.mkldnn
    built = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's
    if matrix.device.type != "cpu" or not built:
        return False
    if not (hasattr(ops, "_linear_pointwise") and hasattr(ops, "_reorder_linear_weight")):
        return False
    return matrix.dtype == torch.float32 or (
        matrix.dtype == torch.bfloat16 and bool(ops._is_mkldnn_bf16_supported())
    )
