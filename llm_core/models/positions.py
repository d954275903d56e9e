"""Where a token stands: rotary tables with their scalings, and sinusoidal vectors."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from llm_core.models.config import DecoderConfig, Rope


def rotary_tables(
    config: DecoderConfig, positions: Tensor | Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Cosines and sines (P, head_dim / 2) in float32 for P positions.

    Channel i of a head turns together with channel i + head_dim / 2, as in the Hugging Face
    order of query and key rows. Source: Su et al. 2021 (RoFormer).
    """
    at = torch.as_tensor(positions)
    frequencies = inverse_frequencies(config.rope, config.head_dim).to(at.device)
    return angle_tables(frequencies, config.rope.scale, at)


def angle_tables(frequencies: Tensor, scale: float, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (P, D / 2) in float32, times `scale`; frequencies (D / 2,)."""
    angles = positions.to(torch.float32)[:, None] * frequencies  # (P, D / 2)
    return angles.cos() * scale, angles.sin() * scale


def inverse_frequencies(rope: Rope, head_dim: int) -> Tensor:
    """Radians per position (head_dim / 2,), the fastest channel first, in float32."""
    # On the CPU by name, so that a decoder without storage still has its real frequencies.
    steps = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim
    plain = 1.0 / rope.theta**steps
    if rope.kind == "linear":
        return plain / rope.factor
    if rope.kind == "llama3":
        return _llama3(rope, plain)
    if rope.kind == "yarn":
        return _yarn(rope, plain, head_dim)
    return plain


def _llama3(rope: Rope, plain: Tensor) -> Tensor:
    """Stretch waves longer than the first window, keep short ones, blend in between.

    Source: the rotary scaling published with Llama 3.1.
    """
    waves = 2 * math.pi / plain
    blend = ((rope.original / waves - rope.low) / (rope.high - rope.low)).clamp(0.0, 1.0)
    return (1 - blend) * plain / rope.factor + blend * plain


def _yarn(rope: Rope, plain: Tensor, head_dim: int) -> Tensor:
    """Blend by how often a channel turns within the first window.

    Source: Peng et al. 2023 (YaRN), "NTK-by-parts".
    """

    def channel(turns: float) -> float:
        # The channel that turns so many times over the first window.
        return (
            head_dim * math.log(rope.original / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))
        )

    low, high = channel(rope.high), channel(rope.low)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    width = high - low or 0.001  # a band of no width would divide by zero
    channels = torch.arange(head_dim // 2, dtype=torch.float32, device="cpu")
    ramp = ((channels - low) / width).clamp(0.0, 1.0)
    return plain / rope.factor * ramp + plain * (1 - ramp)


class Rotation:
    """Turns heads by position: a cosine and a signed sine for every channel.

    Channel i of the result is x[i] cos - x[i + D/2] sin in the first half and
    x[i] cos + x[i - D/2] sin in the second, which is one roll and two products.
    """

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        self._half = cos.shape[-1]
        self._cos = torch.cat((cos, cos), dim=-1)  # (P, D)
        self._sin = torch.cat((-sin, sin), dim=-1)

    @classmethod
    def of(cls, config: DecoderConfig, positions: Tensor | Sequence[int]) -> "Rotation":
        """The rotation of a decoder at `positions`."""
        return cls(*rotary_tables(config, positions))

    def __call__(self, heads: Tensor) -> Tensor:
        """Turn heads (..., P, D); the sums are made in float32, the dtype stays."""
        turned = torch.addcmul(heads * self._cos, heads.roll(self._half, -1), self._sin)
        return turned.to(heads.dtype)


def sinusoids(length: int, width: int, base: float = 10000.0) -> Tensor:
    """Position vectors (length, width) in float32: sine in even channels, cosine in odd.

    Source: Vaswani et al. 2017, section 3.5.
    """
    steps = torch.arange(0, width, 2, dtype=torch.float32) / width
    angles = torch.arange(length, dtype=torch.float32)[:, None] / base**steps
    table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
    return table[:, :width]
