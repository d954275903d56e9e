"""What the models of a tokenizer share: a word goes in, token ids come out."""

from collections.abc import Callable
from typing import Protocol

Ids = tuple[int, ...]
_WORDS = 200_000  # words kept, some 40 MB at most
_LETTERS = 64  # longer words seldom come twice


class Model(Protocol):
    """A vocabulary with the rule that cuts a word into its tokens."""

    vocabulary: dict[str, int]

    def encode(self, word: str) -> Ids:
        """The token ids of one word as the pre-tokenizer cut it."""
        ...


class WordCache(dict[str, Ids]):
    """Remembers the ids of words; `cache[word]` asks `encode` for a new one."""

    def __init__(self, encode: Callable[[str], Ids]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, word: str) -> Ids:
        ids = self._encode(word)
        if len(word) <= _LETTERS and len(self) < _WORDS:
            self[word] = ids
        return ids
