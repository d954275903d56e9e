"""The encoder once more, slow and obvious: one text, one head at a time, in float64.

It reads the weights under their published names, so that it shares neither code nor layout
with `encoder.py`, which tests hold against it.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from llm_core.models.encoder import EncoderConfig

Weights = Mapping[str, Tensor]


def reference_states(
    weights: Weights,
    config: EncoderConfig,
    ids: Sequence[int],
    types: Sequence[int] | None = None,
) -> list[Tensor]:
    """States (T, C) of one text behind the embeddings and behind each layer, in float64.

    Source: Devlin et al. 2018.
    """
    w = {name: tensor.to(torch.float64) for name, tensor in weights.items()}
    rows = []
    for index, token in enumerate(ids):
        kind = types[index] if types is not None else 0
        row = w["embeddings.word_embeddings.weight"][token]
        row = row + w["embeddings.token_type_embeddings.weight"][kind]
        row = row + w["embeddings.position_embeddings.weight"][config.first_position + index]
        rows.append(row)
    x = _norm(w, "embeddings.LayerNorm", torch.stack(rows), config)
    states = [x]
    for layer in range(config.num_hidden_layers):
        name = f"encoder.layer.{layer}"
        y = _linear(w, f"{name}.attention.output.dense", _attention(w, name, x, config))
        x = _norm(w, f"{name}.attention.output.LayerNorm", x + y, config)
        y = _activation(config, _linear(w, f"{name}.intermediate.dense", x))
        y = _linear(w, f"{name}.output.dense", y)
        x = _norm(w, f"{name}.output.LayerNorm", x + y, config)
        states.append(x)
    return states


def _attention(w: Weights, layer: str, x: Tensor, config: EncoderConfig) -> Tensor:
    names = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
    q, k, v = (_linear(w, name, x) for name in names)  # (T, C)
    width = config.hidden_size // config.num_attention_heads
    heads = []
    for head in range(config.num_attention_heads):
        own = slice(head * width, (head + 1) * width)
        means = []
        for row in q[:, own]:  # (D,)
            weights = ((k[:, own] @ row) / math.sqrt(width)).exp()  # (T,)
            means.append((weights[:, None] * v[:, own]).sum(dim=0) / weights.sum())
        heads.append(torch.stack(means))
    return torch.cat(heads, dim=1)


def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(w: Weights, name: str, x: Tensor, config: EncoderConfig) -> Tensor:
    centred = x - x.mean(dim=1, keepdim=True)
    deviation = (centred.square().mean(dim=1, keepdim=True) + config.layer_norm_eps).sqrt()
    return centred / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]


def _activation(config: EncoderConfig, x: Tensor) -> Tensor:
    if config.activation == "relu":
        return x.clamp(min=0)
    if config.activation == "gelu":
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
