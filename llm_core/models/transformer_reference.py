"""The encoder-decoder once more, slow and obvious: one pair, one head, one row at a time.

It works in float64 on the state of a `Transformer` and shares no code with it.
"""

import cmath
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from llm_core.models.transformer import TransformerConfig

Weights = Mapping[str, Tensor]


def reference_logits(
    state: Weights, config: TransformerConfig, source: Sequence[int], target: Sequence[int]
) -> Tensor:
    """Logits (T, V) in float64 behind each token of the target.

    Source: Vaswani et al. 2017.
    """
    w = {name: tensor.to(torch.float64) for name, tensor in state.items()}
    x = _embed(w, config, source, "source")
    for layer in range(config.encoder_layers):
        name = f"encoder.{layer}"
        x = _sublayer(
            w, config, name, "attention", x, _attend(w, config, f"{name}.attention", x, x, "all")
        )
        x = _sublayer(w, config, name, "feed_forward", x, _feed(w, config, name, x))
    memory, x = x, _embed(w, config, target, "target")
    for layer in range(config.decoder_layers):
        name = f"decoder.{layer}"
        own = _attend(w, config, f"{name}.attention", x, x, "past")
        x = _sublayer(w, config, name, "attention", x, own)
        across = _attend(w, config, f"{name}.cross", x, memory, "other")
        x = _sublayer(w, config, name, "cross", x, across)
        x = _sublayer(w, config, name, "feed_forward", x, _feed(w, config, name, x))
    return _linear(w, "head", x)


def _embed(w: Weights, config: TransformerConfig, ids: Sequence[int], side: str) -> Tensor:
    rows = []
    for position, token in enumerate(ids):
        row = w[f"{side}.weight"][token] * math.sqrt(config.width)
        if config.positions == "learned":
            row = row + w[f"{side}_positions.weight"][position]
        if config.positions == "sinusoidal":
            row = row + torch.tensor(
                [_wave(position, channel, config.width) for channel in range(config.width)],
                dtype=torch.float64,
            )
        rows.append(row)
    return torch.stack(rows)


def _wave(position: int, channel: int, width: int) -> float:
    angle = position / 10000.0 ** ((channel - channel % 2) / width)
    return math.cos(angle) if channel % 2 else math.sin(angle)


def _attend(
    w: Weights, config: TransformerConfig, name: str, x: Tensor, y: Tensor, sees: str
) -> Tensor:
    """From rows of x to rows of y: to "all", to the "past" with itself, or to an "other" text."""
    q, k, v = _linear(w, f"{name}.q", x), _linear(w, f"{name}.k", y), _linear(w, f"{name}.v", y)
    width = config.width // config.heads
    heads = []
    for head in range(config.heads):
        own = slice(head * width, (head + 1) * width)
        means = []
        for at in range(len(x)):
            last = at + 1 if sees == "past" else len(y)
            query, keys = q[at, own], list(k[:last, own])
            if config.positions == "rotary" and sees != "other":
                query = _turned(query, at)
                keys = [_turned(key, position) for position, key in enumerate(keys)]
            scores = torch.stack([query @ key for key in keys]) / math.sqrt(width)
            weights = scores.exp() / scores.exp().sum()
            means.append((weights[:, None] * v[:last, own]).sum(dim=0))
        heads.append(torch.stack(means))
    return _linear(w, f"{name}.out", torch.cat(heads, dim=1))


def _turned(vector: Tensor, position: int) -> Tensor:
    """Channels i and i + D/2 as one complex number, turned by the position."""
    half = len(vector) // 2
    values = vector.tolist()
    turned = [
        complex(values[i], values[i + half]) * cmath.exp(1j * position / 10000.0 ** (i / half))
        for i in range(half)
    ]
    parts = [number.real for number in turned] + [number.imag for number in turned]
    return torch.tensor(parts, dtype=torch.float64)


def _feed(w: Weights, config: TransformerConfig, name: str, x: Tensor) -> Tensor:
    up = _linear(w, f"{name}.feed_forward.up", x)
    if config.activation == "relu":
        bent = up.clamp(min=0)
    else:
        bent = up * (1 + torch.erf(up / math.sqrt(2))) / 2
    return _linear(w, f"{name}.feed_forward.down", bent)


def _sublayer(
    w: Weights, config: TransformerConfig, block: str, part: str, x: Tensor, change: Tensor
) -> Tensor:
    y = x + change
    centred = y - y.mean(dim=1, keepdim=True)
    deviation = (centred.square().mean(dim=1, keepdim=True) + config.norm_eps).sqrt()
    name = f"{block}.close_{part}.norm"
    return centred / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]


def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]
