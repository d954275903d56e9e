"""The BERT encoder, written out: token ids in, one vector a token out.

Unusual against the textbook: the query, key and value matrices are fused when weights
load, and the attention mask is left out where no row is padded. Importing this file
imports torch alone, a third of the time that the modelling file of transformers takes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch reader knows

from llm_core.errors import ModelFileError


@dataclass(frozen=True)
class BertConfig:
    """The numbers of a config.json that decide the shape of the encoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    @classmethod
    def read(cls, raw: dict[str, Any], source: Path) -> "BertConfig":
        """Take the fields from a parsed config.json; raises `ModelFileError`."""
        if raw.get("model_type") != "bert" or raw.get("hidden_act", "gelu") != "gelu":
            raise ModelFileError(
                f"{source} is a {raw.get('model_type')!r} model; embeddings need a 'bert' model"
            )
        try:
            return cls(**{name: raw[name] for name in cls.__dataclass_fields__})
        except KeyError as error:
            raise ModelFileError(f"{source} lacks {error} in config.json") from error


class Block(nn.Module):
    """One layer: attention, then the two-layer perceptron, each with a norm after it."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        rows, length, width = x.shape
        fused = self.qkv(x).view(rows, length, 3, self.heads, width // self.heads)
        q, k, v = fused.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.attention_norm(x + self.out(y.transpose(1, 2).reshape(rows, length, width)))
        return cast(Tensor, self.norm(x + self.down(F.gelu(self.up(x)))))


class BertEncoder(nn.Module):
    """Embeddings and a stack of blocks; no pooling."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.types = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode `ids` (B, T); `mask` (B, T) is False at padding, None where there is none."""
        x = self.tokens(ids) + self.types.weight[0] + self.positions.weight[: ids.shape[1]]
        x = self.norm(x)
        attend = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, T)
        for block in self.blocks:
            x = block(x, attend)
        return cast(Tensor, x)  # (B, T, C)


def load_bert(folder: Path, config: BertConfig, dtype: torch.dtype) -> BertEncoder:
    """Load an encoder from `model.safetensors`; raises `ModelFileError` for a bad file."""
    try:
        stored = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{folder / 'model.safetensors'} cannot be read: {error}") from error
    stored = {name.removeprefix("bert."): tensor for name, tensor in stored.items()}
    try:
        weights = _renamed(stored, config.num_hidden_layers)
        with torch.device("meta"):
            encoder = BertEncoder(config)
        encoder.load_state_dict({n: w.to(dtype) for n, w in weights.items()}, assign=True)
    except (KeyError, RuntimeError) as error:
        raise ModelFileError(f"{folder} does not hold the weights of a BERT: {error}") from error
    return encoder.eval().requires_grad_(False)


def _renamed(stored: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Map the published names to this file's, with query, key and value fused."""
    weights = {
        "tokens.weight": stored["embeddings.word_embeddings.weight"],
        "positions.weight": stored["embeddings.position_embeddings.weight"],
        "types.weight": stored["embeddings.token_type_embeddings.weight"],
        "norm.weight": stored["embeddings.LayerNorm.weight"],
        "norm.bias": stored["embeddings.LayerNorm.bias"],
    }
    names = {
        "out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm": "output.LayerNorm",
    }
    for layer in range(layers):
        old, new = f"encoder.layer.{layer}", f"blocks.{layer}"
        for kind in ("weight", "bias"):
            for ours, theirs in names.items():
                weights[f"{new}.{ours}.{kind}"] = stored[f"{old}.{theirs}.{kind}"]
            parts = [stored[f"{old}.attention.self.{p}.{kind}"] for p in ("query", "key", "value")]
            weights[f"{new}.qkv.{kind}"] = torch.cat(parts)
    return weights
