"""The encoder of the BERT family: token ids in, one vector a token out.

    tokens, types, positions -> embeddings -> norm -> N blocks -> states
    block:  x = norm(x + attention(x)), then x = norm(x + feed-forward(x))

What is unusual: the tokens of several texts lie one behind the other, so nothing but
attention ever sees padding; queries, keys and values are one matrix; how attention is
computed arrives as an argument.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch reader knows
from torch.nn.utils.rnn import pad_sequence

from llm_core.errors import ModelFileError
from llm_core.models.attention import attend, merge_heads, padding_mask
from llm_core.models.linear import Linear

KINDS = ("bert", "roberta", "xlm-roberta")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "type_vocab_size",
)
_LARGEST = 1 << 24  # no size of a known model comes near
_MOST_LAYERS = 1024

# Queries, keys and values (N, 3 C) of texts with these lengths, and the heads, to (N, C).
Attend = Callable[[Tensor, Sequence[int], int], Tensor]


@dataclass(frozen=True)
class EncoderConfig:
    """The numbers of a config.json that decide what the encoder computes.

    Positions count from `first_position`: 0 for BERT, behind the padding id for RoBERTa.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    activation: str = "gelu"
    first_position: int = 0

    @property
    def window(self) -> int:
        """The most tokens a text may have."""
        return self.max_position_embeddings - self.first_position

    @classmethod
    def read(cls, raw: dict[str, Any], source: Path) -> "EncoderConfig":
        """Take the fields from a parsed config.json; raises `ModelFileError`."""
        kind = raw.get("model_type")
        if kind not in KINDS:
            raise ModelFileError(
                f"{source} is a {kind!r} model; embeddings need one of the kinds {', '.join(KINDS)}"
            )
        activation = raw.get("hidden_act", "gelu")
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise ModelFileError(
                f"{source} has hidden_act {activation!r}; known are {', '.join(ACTIVATIONS)}"
            )
        positions = raw.get("position_embedding_type") or "absolute"
        if positions != "absolute":
            raise ModelFileError(
                f"{source} has position_embedding_type {positions!r}; only 'absolute' is known"
            )
        sizes = {name: _size(raw, name, source) for name in _SIZES}
        if sizes["hidden_size"] % sizes["num_attention_heads"]:
            raise ModelFileError(
                f"{source}: hidden_size {sizes['hidden_size']} is not a multiple of "
                f"num_attention_heads {sizes['num_attention_heads']}; copy the folder again"
            )
        padding = raw.get("pad_token_id")
        padding = 1 if padding is None else padding
        if not isinstance(padding, int) or not 0 <= padding < sizes["vocab_size"]:
            raise ModelFileError(f"{source}: pad_token_id is {padding!r}; copy the folder again")
        first = 0 if kind == "bert" else padding + 1
        eps = raw.get("layer_norm_eps", 1e-12)
        if not isinstance(eps, int | float) or not 0 < eps < 1:
            raise ModelFileError(f"{source}: layer_norm_eps is {eps!r}; copy the folder again")
        config = cls(
            **sizes, layer_norm_eps=float(eps), activation=activation, first_position=first
        )
        if config.window < 1:
            raise ModelFileError(f"{source} has room for no token; copy the folder again")
        return config


def _size(raw: dict[str, Any], name: str, source: Path) -> int:
    value = raw.get(name)
    most = _MOST_LAYERS if name == "num_hidden_layers" else _LARGEST
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise ModelFileError(
            f"{source}: {name} is {value!r}, not a whole number from 1 to {most}; "
            "copy the folder again"
        )
    return value


def attend_padded(qkv: Tensor, lengths: Sequence[int], heads: int) -> Tensor:
    """Attention of packed texts, (N, 3 C) to (N, C), each text within itself.

    Texts are padded to the longest for the shared attention, and cut again.
    """
    texts, longest = len(lengths), max(lengths)
    even = min(lengths) == longest
    rows = qkv if even else pad_sequence(_parts(qkv, lengths), batch_first=True)
    rows = rows.view(texts, longest, 3, heads, -1)
    q, k, v = rows.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
    if even:
        return merge_heads(attend(q, k, v)).flatten(0, 1)
    mask = padding_mask(lengths, longest).to(qkv.device)
    return merge_heads(attend(q, k, v, mask))[mask[:, 0, 0]]


def _parts(rows: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    return list(rows.split_with_sizes(list(lengths)))


class Table(nn.Module):
    """One vector of `width` for each of `rows` ids, without values until weights are loaded."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(N,) to (N, width)."""
        return F.embedding(ids, self.weight)


class Embeddings(nn.Module):
    """The sum of a token's, a type's and a position's vector, normed."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self._first = config.first_position
        self.tokens = Table(config.vocab_size, config.hidden_size)
        self.positions = Table(config.max_position_embeddings, config.hidden_size)
        self.types = Table(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor, lengths: Sequence[int], types: Tensor | None) -> Tensor:
        """Ids and types (N,) to (N, C)."""
        at = torch.cat([torch.arange(length) for length in lengths]) + self._first  # (N,)
        kind = self.types.weight[0] if types is None else self.types(types)
        x = self.tokens(ids) + kind + self.positions(at.to(ids.device))
        return cast(Tensor, self.norm(x))


class Block(nn.Module):
    """One layer: attention, then the two-layer perceptron, each with a norm after it."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self._heads = config.num_attention_heads
        self._activation = ACTIVATIONS[config.activation]
        self.qkv = Linear(width, 3 * width, bias=True)
        self.out = Linear(width, width, bias=True)
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.up = Linear(width, inner, bias=True)
        self.down = Linear(inner, width, bias=True)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, lengths: Sequence[int], attention: Attend) -> Tensor:
        """(N, C) to (N, C)."""
        y = attention(self.qkv(x), lengths, self._heads)
        x = self.attention_norm(x + self.out(y))
        return cast(Tensor, self.norm(x + self.down(self._activation(self.up(x)))))


class Encoder(nn.Module):
    """Embeddings and a stack of blocks; weights come from `load_encoder`."""

    def __init__(self, config: EncoderConfig, attention: Attend = attend_padded) -> None:
        super().__init__()
        self.config = config
        self.attention = attention
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))

    def forward(self, ids: Tensor, lengths: Sequence[int], types: Tensor | None = None) -> Tensor:
        """States (N, C) of the last layer.

        ids (N,) are the tokens of texts with these `lengths`, one text behind the other;
        types (N,) tell the sentences of a pair apart and are 0 where None.
        """
        return self.states(ids, lengths, types)[-1]

    def states(
        self, ids: Tensor, lengths: Sequence[int], types: Tensor | None = None
    ) -> list[Tensor]:
        """States (N, C) behind the embeddings and behind each layer."""
        if sum(lengths) != len(ids) or min(lengths) < 1 or max(lengths) > self.config.window:
            raise ValueError(
                f"{len(ids)} ids do not make texts of {min(lengths)} to {max(lengths)} tokens, "
                f"{sum(lengths)} in all, with at most {self.config.window} each"
            )
        states = [self.embeddings(ids, lengths, types)]
        for block in self.blocks:
            states.append(block(states[-1], lengths, self.attention))
        return states


def mean_pool(states: Tensor, lengths: Sequence[int]) -> Tensor:
    """The mean vector of each text, (N, C) to (B, C), in float32."""
    return torch.stack([rows.mean(dim=0) for rows in _parts(states.float(), lengths)])


def first_pool(states: Tensor, lengths: Sequence[int]) -> Tensor:
    """The vector of each text's first token ([CLS] or <s>), (N, C) to (B, C), in float32."""
    ends = torch.tensor(lengths).cumsum(0)
    starts = ends - torch.tensor(lengths)
    return states[starts.to(states.device)].float()
