"""Normalisation by the root mean square. Source: Zhang and Sennrich 2019."""

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm


class RMSNorm(nn.Module):
    """Scales vectors (..., width) to a mean square of one, then by a learned weight (width,)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width), requires_grad=False)
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """The same shape and dtype; the mean is taken in float32."""
        return rms_norm(x, self.weight.shape, self.weight, self._eps)
