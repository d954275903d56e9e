"""Prefer values that stand in the user's own words, without forbidding any other.

A small model mangles names and shortens numbers. While it writes a JSON string or number,
tokens that keep copying a span of the source get a bonus; the grammar stays as it is.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor, from_numpy

from llm_core.jsontext import JsonScan
from llm_core.tokenizer import TextTokenizer

STRENGTH = 3.0  # logits added; measured on argument copying
_LONGEST = 24  # bytes of one token
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
_WORD_BYTE = re.compile(rb"[0-9A-Za-z\x80-\xff]")
_CLOSERS = (b'"', b'",', b'"}', b'"]', b'"}}')
_NUMBER_ENDS = (b",", b"}", b"]", b"}}")


@dataclass(frozen=True)
class _Source:
    text: bytes
    numbers: tuple[bytes, ...]


class CopyBias:
    """A bias towards spans of `sources` inside JSON values."""

    def __init__(
        self, sources: Sequence[str], tokenizer: TextTokenizer, strength: float = STRENGTH
    ) -> None:
        self._source = _read("\n".join(sources))
        self._tokenizer = tokenizer
        self._strength = strength
        self._scan = JsonScan()

    def accept(self, token: int) -> None:
        """Note the token that was written."""
        self._scan.feed(self._tokenizer.pieces[token])

    def add(self, logits: Tensor) -> Tensor:
        """The logits (V,) with a bonus on tokens that copy on; the argument stays as it is."""
        tokens = list(self._tokens())
        if tokens:
            values = logits.numpy().copy()  # torch would wake its threads for so little
            values[tokens] += self._strength
            logits = from_numpy(values)
        return logits

    def _tokens(self) -> Iterator[int]:
        scan = self._scan
        if scan.in_string and not scan.is_key:
            pieces = self._string_pieces(scan.value)
        elif scan.in_number:
            pieces = self._number_pieces(scan.value)
        else:
            return
        found = self._tokenizer.by_piece
        yield from {found[piece] for piece in pieces if piece in found}

    def _string_pieces(self, written: bytes) -> Iterator[bytes]:
        text = self._source.text
        at = text.find(written)
        while at >= 0:
            end = at + len(written)
            if at == 0 or not _WORD_BYTE.match(text, at - 1):
                yield from (text[end : end + n] for n in range(1, _LONGEST + 1))
                if written and not _WORD_BYTE.match(text, end):
                    yield from _CLOSERS
            at = text.find(written, at + 1)
            if not written and at >= 0:
                at = _next_word(text, at)

    def _number_pieces(self, written: bytes) -> Iterator[bytes]:
        for number in self._source.numbers:
            if number == written:
                yield from _NUMBER_ENDS
            elif number.startswith(written):
                yield number[len(written) : len(written) + 1]


def _next_word(text: bytes, at: int) -> int:
    """The first place from `at` on where a word begins; -1 when there is none."""
    for place in range(at, len(text)):
        starts = place == 0 or not _WORD_BYTE.match(text, place - 1)
        if starts and _WORD_BYTE.match(text, place):
            return place
    return -1


@lru_cache(maxsize=8)
def _read(text: str) -> _Source:
    numbers = (found.group().replace(",", "") for found in _NUMBER.finditer(text))
    return _Source(text.encode(), tuple(dict.fromkeys(number.encode() for number in numbers)))
