"""Many continuations of one prefix in one forward pass.

The branches stand side by side in one row; a mask lets each token see the shared prefix and
the earlier tokens of its own branch, and positions restart after the prefix in every branch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Branch:
    """Tokens after the shared prefix; the last `scored` of them are to be predicted."""

    tokens: list[int]
    scored: int

    def __post_init__(self) -> None:
        if not 0 < self.scored < len(self.tokens):
            raise ValueError(f"cannot score {self.scored} of {len(self.tokens)} tokens")


@dataclass(frozen=True)
class Pack:
    """The tensors of one forward pass over several branches.

    tokens and positions (1, T); mask (1, 1, T, prefix + T), True where a token may look;
    reads (R,): the rows that predict; targets (R,): what they should predict;
    counts: how many of these belong to each branch, in order.
    """

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    reads: Tensor
    targets: Tensor
    counts: list[int]


def pack(branches: Sequence[Branch], prefix: int) -> Pack:
    """Lay out `branches` after a prefix of `prefix` tokens."""
    sizes = [len(branch.tokens) for branch in branches]
    total = sum(sizes)
    mask = torch.zeros(total, prefix + total, dtype=torch.bool)
    mask[:, :prefix] = True
    positions = torch.empty(total, dtype=torch.long)
    reads: list[int] = []
    targets: list[int] = []
    at = 0
    for branch, size in zip(branches, sizes, strict=True):
        own = slice(prefix + at, prefix + at + size)
        mask[at : at + size, own] = torch.ones(size, size, dtype=torch.bool).tril()
        positions[at : at + size] = torch.arange(prefix, prefix + size)
        reads += range(at + size - branch.scored - 1, at + size - 1)
        targets += branch.tokens[-branch.scored :]
        at += size
    return Pack(
        tokens=torch.tensor([[token for branch in branches for token in branch.tokens]]),
        positions=positions[None],
        mask=mask[None, None],
        reads=torch.tensor(reads),
        targets=torch.tensor(targets),
        counts=[branch.scored for branch in branches],
    )


def groups(branches: Sequence[Branch], limit: int) -> Iterator[list[Branch]]:
    """Runs of branches of at most `limit` tokens together (a longer one stands alone)."""
    group: list[Branch] = []
    held = 0
    for branch in branches:
        if group and held + len(branch.tokens) > limit:
            yield group
            group, held = [], 0
        group.append(branch)
        held += len(branch.tokens)
    if group:
        yield group
