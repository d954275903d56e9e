"""A decoder with the weights of a checkpoint, fused as `llm_core.models.decoder` wants them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from llm_core.errors import ModelFileError
from llm_core.models.config import DecoderConfig
from llm_core.models.decoder import Decoder

# Buffers that old files hold beside the weights, and the head that a tied model repeats.
_IGNORED = ("rotary_emb.inv_freq", "lm_head.weight")


class Weights(Protocol):
    """What is asked of a checkpoint: a config, and tensors by their Hugging Face names."""

    source: Path
    config: dict[str, Any]
    names: frozenset[str]

    def tensor(self, name: str) -> Tensor:
        """A tensor as stored, or in float32 where it was quantised."""
        ...


def load_decoder(
    weights: Weights, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Decoder:
    """The decoder of a checkpoint, in evaluation mode.

    Raises UnsupportedModelError for another architecture, ModelFileError for tensors that
    are missing, left over, or of the wrong shape.
    """
    config = DecoderConfig.read(weights.config, weights.source)
    with torch.device("meta"):  # shapes alone: nothing is allocated on the word of a config
        decoder = Decoder(config)
    wanted = dict(decoder.named_parameters())
    used: set[str] = set()
    state = {}
    for target, names in _sources(config):
        state[target] = _fused(weights, names, wanted[target], dtype).to(device)
        used.update(names)
    left = sorted(name for name in weights.names - used if not name.endswith(_IGNORED))
    if left:
        raise ModelFileError(
            f"{weights.source} holds {len(left)} tensors that its config does not explain, such "
            f"as {left[0]}; use a plain model folder (adapters are given beside a model)"
        )
    decoder.load_state_dict(state, assign=True)
    return decoder.requires_grad_(False).to(device).train(False)


def _fused(weights: Weights, names: list[str], wanted: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensors of `names` one below the other, checked against the shape `wanted`."""
    parts = [weights.tensor(name) for name in names]
    rows = sum(part.shape[0] if part.ndim else 0 for part in parts)
    if rows != wanted.shape[0] or any(part.shape[1:] != wanted.shape[1:] for part in parts):
        raise ModelFileError(
            f"{weights.source}: {', '.join(names)} do not make up the {tuple(wanted.shape)} "
            "that config.json describes; copy the whole folder again"
        )
    out = torch.empty(wanted.shape, dtype=dtype, device="cpu")
    at = 0
    for part in parts:
        out[at : at + part.shape[0]] = part
        at += part.shape[0]
    return out


def _sources(config: DecoderConfig) -> Iterator[tuple[str, list[str]]]:
    """Each parameter of the decoder, and the stored tensors it is made of."""
    yield "embedding", ["model.embed_tokens.weight"]
    yield "norm.weight", ["model.norm.weight"]
    if not config.tie_word_embeddings:
        yield "head.weight", ["lm_head.weight"]
    for layer in range(config.num_hidden_layers):
        ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        yield ours + "attention_norm.weight", [theirs + "input_layernorm.weight"]
        yield ours + "feed_forward_norm.weight", [theirs + "post_attention_layernorm.weight"]
        if config.qk_norm:
            yield ours + "attention.q_norm.weight", [theirs + "self_attn.q_norm.weight"]
            yield ours + "attention.k_norm.weight", [theirs + "self_attn.k_norm.weight"]
        for matrix, parts, bias in (
            (
                "attention.qkv",
                ["self_attn." + x for x in ("q_proj", "k_proj", "v_proj")],
                config.qkv_bias,
            ),
            ("attention.out", ["self_attn.o_proj"], config.o_bias),
            ("feed_forward.gate_up", ["mlp.gate_proj", "mlp.up_proj"], config.mlp_bias),
            ("feed_forward.down", ["mlp.down_proj"], config.mlp_bias),
        ):
            for kind in ("weight", "bias") if bias else ("weight",):
                yield f"{ours}{matrix}.{kind}", [f"{theirs}{part}.{kind}" for part in parts]
