"""What was computed of earlier prompts, kept in blocks of tokens for later prompts.

Agents share their system prompts, and the next turn of a conversation begins with the last
one. A block is found by the block before it and by its own tokens, so a hit is exact: there
is no hash to collide, and another adapter or number format is another chain.
"""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from llm_core.backend import KVCache

BLOCK = 16  # tokens; the kernel copies columns in tiles of so many


@dataclass(frozen=True)
class PrefixUse:
    """Tokens of prompts that were looked up, those found of them, and blocks held now."""

    asked: int
    found: int
    blocks: int


@dataclass(frozen=True)
class _Entry:
    serial: int  # what the next block of the chain is filed under
    columns: Any  # as the backend's cache gave them


class PrefixStore:
    """Blocks of keys and values of one backend, at most `limit` bytes of them; thread-safe.

    The least recently used blocks go first, and of one chain the last ones. `scope` keeps
    chains apart that must not be mixed: the adapter, the way the columns were computed.
    """

    def __init__(self, limit: int, column_bytes: int) -> None:
        self._most = limit // (BLOCK * max(1, column_bytes))
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[Hashable, tuple[int, ...]], _Entry] = OrderedDict()
        self._serials = itertools.count()
        self._asked = self._found = 0

    def fill(
        self, cache: KVCache, tokens: Sequence[int], scope: Hashable, multiple: int = BLOCK
    ) -> int:
        """Append to an empty cache what is known of `tokens`; returns how many that is.

        The number is a multiple of `multiple`, itself a multiple of BLOCK.
        """
        with self._lock:
            found = self._chain(tokens, scope)
            found = found[: len(found) * BLOCK // multiple * multiple // BLOCK]
            self._asked += len(tokens)
            self._found += len(found) * BLOCK
        for entry in found:
            cache.write(entry.columns, BLOCK)
        return len(found) * BLOCK

    def keep(self, cache: KVCache, tokens: Sequence[int], scope: Hashable) -> None:
        """Store the whole blocks of `cache`, whose columns stand for `tokens`."""
        blocks = min(len(tokens) // BLOCK, self._most)
        with self._lock:
            known = len(self._chain(tokens, scope))
        if blocks <= known:
            return
        # Copied outside of the lock; another caller may store the same meanwhile.
        made = [cache.read(n * BLOCK, (n + 1) * BLOCK) for n in range(known, blocks)]
        with self._lock:
            parent = scope
            for number, key in enumerate(_keys(tokens, blocks)):
                filed = self._entries.get((parent, key))
                if filed is None:
                    if number < known:
                        return  # dropped meanwhile, and the rest hangs on it
                    filed = _Entry(next(self._serials), made[number - known])
                    self._entries[parent, key] = filed
                parent = filed.serial
            self._chain(tokens, scope)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        """Number of blocks held."""
        return len(self._entries)

    @property
    def use(self) -> PrefixUse:
        """What the store was good for until now."""
        with self._lock:
            return PrefixUse(self._asked, self._found, len(self._entries))

    def _chain(self, tokens: Sequence[int], scope: Hashable) -> list[_Entry]:
        """The stored blocks that `tokens` begin with, marked as just used, last ones first."""
        found: list[_Entry] = []
        used: list[tuple[Hashable, tuple[int, ...]]] = []
        parent = scope
        for key in _keys(tokens, len(tokens) // BLOCK):
            entry = self._entries.get((parent, key))
            if entry is None:
                break
            found.append(entry)
            used.append((parent, key))
            parent = entry.serial
        for place in reversed(used):
            self._entries.move_to_end(place)
        return found


def _keys(tokens: Sequence[int], blocks: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[n * BLOCK : (n + 1) * BLOCK]) for n in range(blocks)]


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
