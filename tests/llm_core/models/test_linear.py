"""The blocked layout of a matrix gives the sums of the plain one, for few rows and many."""

import pytest
import torch

from llm_core.models.linear import Delta, Linear, can_pack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3, 256])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_sums_equal_plain_ones(dtype: torch.dtype, rows: int, bias: bool) -> None:
    random = torch.Generator().manual_seed(0)
    layer = Linear(48, 80, bias)
    for parameter in layer.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=random))
    layer = layer.to(dtype)
    x = torch.randn(rows, 48, generator=random).to(dtype)
    delta = Delta(torch.ones(2, 48, dtype=dtype), torch.ones(80, 2, dtype=dtype))
    with torch.inference_mode():
        plain, changed = layer(x), layer(x, delta)
        held = can_pack(layer.weight)
        layer.pack()
        layer.pack()  # once more changes nothing
        assert (layer.weight is None) == held  # one copy is kept, not two
        tolerance = 1e-4 if dtype == torch.float32 else 0.15
        torch.testing.assert_close(layer(x), plain, atol=tolerance, rtol=0)
        torch.testing.assert_close(layer(x, delta), changed, atol=4 * tolerance, rtol=0)
        assert (changed - plain).abs().max() > 1
