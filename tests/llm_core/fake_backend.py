"""A backend whose logits depend on nothing but what a row may see, to the last bit.

Each column remembers its token and position, and a row's logits are drawn from a seed made of
every (token, position) it sees. A wrong column, position, prefix or adapter changes them.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from llm_core.backend import KVCache, Rows
from llm_core.batch import Reply

VOCABULARY = 40


class FakeCache:
    def __init__(self, capacity: int) -> None:
        self.columns: list[tuple[int, int, str]] = []
        self.capacity = capacity

    @property
    def length(self) -> int:
        return len(self.columns)

    def truncate(self, length: int) -> None:
        del self.columns[length:]

    def read(self, start: int, end: int) -> Any:
        assert end <= len(self.columns)
        return list(self.columns[start:end])

    def write(self, block: Any, tokens: int) -> None:
        assert len(block) == tokens
        self.columns += block
        assert len(self.columns) <= self.capacity


class FakeBackend:
    """`memory` limits how many of the last tokens count, so that replies run into loops."""

    name = "fake"
    vocabulary = VOCABULARY
    window = 4096
    chunk = 7
    invariant = True
    column_bytes = 100

    def __init__(self, memory: int = 10**6) -> None:
        self.memory = memory
        self.passes: list[int] = []  # rows of each pass
        self.before: Callable[[], None] = lambda: None  # called in each pass

    def new_cache(self, capacity: int) -> KVCache:
        return FakeCache(capacity)

    def forward(
        self, rows: Rows, caches: Sequence[Any], reads: Sequence[int], adapter: Any, threads: Any
    ) -> Tensor:
        self.before()
        self.passes.append(len(rows.tokens))
        tag = "" if adapter is None else adapter.key
        seen = []
        for n, slot in enumerate(rows.slots):
            columns, at = caches[slot].columns, rows.columns[n]
            assert at <= len(columns) and at < caches[slot].capacity
            columns[at:] = [(rows.tokens[n], rows.positions[n], tag)]
            visible = columns[: rows.prefixes[n]] + columns[rows.starts[n] : at + 1]
            assert [column[1] for column in visible] == list(range(len(visible)))
            assert all(column[2] == tag for column in visible)
            seen.append([column[0] for column in visible][-self.memory :])
        return torch.stack([logits_after(seen[n], tag) for n in reads]) if reads else torch.empty(0)


def logits_after(tokens: Sequence[int], tag: str = "") -> Tensor:
    """The fake model's logits (V,) after all that a row sees."""
    digest = hashlib.sha256(repr((list(tokens), tag)).encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.randn(VOCABULARY, generator=generator) * 3


def outcome(steps: Any) -> Reply:
    """All of a reply that comes token by token."""
    made = []
    while True:
        try:
            made.append(next(steps))
        except StopIteration as end:
            return Reply(made, end.value)
