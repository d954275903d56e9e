"""Prefer values that stand in the user's own words, without forbidding any other.

A small model mangles names and shortens numbers. While it writes a JSON value, tokens that
keep copying a span or a number of the source get a bonus, and a number that is cut short a
malus; values that were used already count less. The grammar stays as it is.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.copy_sources import dates_in, number_lists, numbers_in
from llm_core.jsontext import JsonScan
from llm_core.nearness import Nearness, nearness, stems_of
from llm_core.tokenizer import TextTokenizer
from llm_core.words import is_wished, named_values

Bonus = dict[int, float]
Tokens = list[int]
Gains = NDArray[np.float32]


class _Starts(Bonus):
    """What a string may begin with: a closing mark, as no value does, loses besides."""


_LONGEST = 24  # bytes of one token
_WORD_BYTE = re.compile(rb"[0-9A-Za-z\x80-\xff]")
_WORD = re.compile(_WORD_BYTE.pattern + rb"+")
_CLOSERS = (b'"', b'",', b'"}', b'"]', b'"}}', b'"],', b'"]}', b'"]}}')
_NUMBER_ENDS = (b",", b"}", b"]", b"}}")
# What a value seldom goes on to: the end of a clause, or a word that begins another.
_BREAK = re.compile(
    rb"[\"'\xe2]?(?:[.,;:?!)\n](?:\s|$)|[\"]|$"
    rb"|\s+(?:and|or|in|on|at|from|to|for|with|by|using|is|are|was|as|that|which|if|please)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Strengths:
    """Logits added, fractions of which count in weaker cases."""

    copy: float = 3.0
    used: float = 0.3  # of the bonus, for what another argument has
    beyond: float = 0.5  # of the bonus, for going on past a place where values end
    closing: float = 1.0  # of the bonus, for ending at such a place
    cut: float = 1.0  # of the bonus, taken off where a number would be cut short
    begin: float = 1.0  # of the bonus, for the first digit of a number
    spoken: float = 0.7  # of the bonus, for numbers in words
    near: float = 1.0  # of the bonus, more, for values beside words of the argument's name
    about: float = 0.4  # the same for words of its description
    odd: float = 2.0  # of the bonus, taken off strings that would begin with a closing mark
    boolean: float = 0.7  # of the bonus, for `true` where the request speaks of it


STRENGTHS = Strengths()


class CopyBias:
    """A bias towards spans of `sources` inside JSON values, of an object of `schema` if given."""

    def __init__(
        self,
        sources: Sequence[str],
        tokenizer: TextTokenizer,
        schema: Mapping[str, Any] | None = None,
        strengths: Strengths = STRENGTHS,
    ) -> None:
        self._text = "\n".join(sources)
        self._source = _read(self._text)
        self._copied: tuple[int, set[int]] = (0, set())  # finished values, and where they stand
        self._tokenizer = tokenizer
        self._strengths = strengths
        self._scan = JsonScan()
        self._parts: Mapping[str, Any] = (schema or {}).get("properties", {})

    def accept(self, token: int) -> None:
        """Note the token that was written."""
        self._scan.feed(self._tokenizer.pieces[token])

    def gains(self) -> tuple[Tokens, Gains] | None:
        """Tokens and what they gain now; of a token that stands twice the last counts."""
        bonus = self._bonus()
        if isinstance(bonus, _Starts):
            return self._beside_odd(bonus)
        if not bonus:
            return None
        return list(bonus), np.fromiter(bonus.values(), np.float32, len(bonus))

    def _beside_odd(self, bonus: "_Starts") -> tuple[Tokens, Gains]:
        odd = self._tokenizer.odd_starts
        gains = np.full(len(odd) + len(bonus), -self._strengths.copy * self._strengths.odd)
        gains[len(odd) :] = list(bonus.values())
        return [*odd, *bonus], gains.astype(np.float32)

    def _bonus(self) -> Bonus:
        scan = self._scan
        if scan.in_string:
            return {} if scan.is_key else self._of_string(scan.value)
        if scan.in_number:
            return self._of_number(scan.value)
        return self._of_begin() if scan.awaits and self._parts else {}

    def _part(self) -> Mapping[str, Any]:
        """The schema of the argument that is being written, or of the items of a list."""
        part = self._parts.get(self._scan.name.decode(errors="replace"), {})
        if isinstance(part, Mapping) and part.get("type") == "array":
            part = part.get("items", {})
        return part if isinstance(part, Mapping) else {}

    def _tokens(self, weights: Mapping[bytes, float]) -> Bonus:
        found = self._tokenizer.by_piece
        copy = self._strengths.copy
        return {found[piece]: copy * w for piece, w in weights.items() if piece in found}

    def _of_begin(self) -> Bonus:
        """Where a value is to begin: first digits, and `true` where the request wants it."""
        part, scan = self._part(), self._scan
        lead = b"" if scan.last in b" [" else b" "
        kind = part.get("type")
        if kind == "boolean":
            name = scan.name.decode(errors="replace")
            if not is_wished(name, part, self._text):
                return {}
            return self._tokens({lead + b"true"[:n]: self._strengths.boolean for n in range(1, 5)})
        if kind not in ("integer", "number"):
            return {}
        weights: dict[bytes, float] = {}
        for text, weight in self._numbers(part).items():
            _raise(weights, lead + text[:1], weight * self._strengths.begin)
        return self._tokens(weights)

    def _numbers(self, part: Mapping[str, Any]) -> dict[bytes, float]:
        """The numbers on offer for an argument, and how much each counts."""
        numbers = numbers_in(self._text)
        left = Counter(number.text for number in numbers)
        left.subtract(Counter(value for _, value in self._scan.finished))
        nearness = self._nearness()
        weights: dict[bytes, float] = {}
        for number in numbers:
            if number.whole or part.get("type") != "integer":
                weight = self._strengths.spoken if number.spoken else 1.0
                weight += nearness(number.start, number.end)
                weight *= 1.0 if left[number.text] > 0 else self._strengths.used
                _raise(weights, number.text, weight)
        return weights

    def _nearness(self) -> Callable[[int, int], float]:
        """What a value at a place of the source counts more for the argument being written."""
        name = self._scan.name.decode(errors="replace")
        part = self._parts.get(name)
        if not isinstance(part, Mapping):
            return _nowhere
        stems = _stems_of(name, str(part.get("description", "")))
        words = self._source.nearness
        worths = zip(stems, (self._strengths.near, self._strengths.about), strict=True)
        found = [(about, worth) for about, worth in worths if words.speaks_of(about)]
        if not found:
            return _nowhere
        return lambda start, end: max(worth * words.of(start, end, about) for about, worth in found)

    def _of_number(self, written: bytes) -> Bonus:
        weights: dict[bytes, float] = {}
        ends = 0.0
        going = False
        for text, weight in self._numbers(self._part()).items():
            if text == written:
                ends = max(ends, weight)
            elif text.startswith(written):
                _raise(weights, text[len(written) : len(written) + 1], weight)
                going = True
        if ends or going:
            ends = ends or -self._strengths.cut
            weights |= dict.fromkeys(_NUMBER_ENDS, ends) | self._of_list(written, ends)
        return self._tokens(weights)

    def _of_list(self, written: bytes, ends: float) -> dict[bytes, float]:
        """Behind an item of a list of numbers: go on, or close, as the list in the source does."""
        if not self._scan.items or ends < 0:
            return {}
        done = [value for name, value in self._scan.finished if name == self._scan.name]
        so_far = (*done, written)
        for each in number_lists(self._text):
            if each[: len(so_far)] == so_far:
                on = len(each) > len(so_far)
                closing = dict.fromkeys((b"]", b"]}", b"],", b"]}}"), -ends if on else ends)
                return {b",": ends if on else -ends} | closing
        return {}

    def _of_string(self, written: bytes) -> Bonus:
        part = self._part()
        values = part.get("enum")
        if isinstance(values, list) and values:
            named = _named(tuple(map(str, values)), self._text)
            weights: dict[bytes, float] = {}
            for value in named:
                if value.startswith(written):
                    _prefixes(weights, value[len(written) :], 1.0)
            return self._tokens(weights)
        extra = dates_in(self._text, str(part.get("description", "")))
        weights = {}
        if extra and not self._scan.items:
            for date in extra:
                text = date.encode()
                if text.startswith(written):
                    _prefixes(weights, text[len(written) :] + b'"', 1.0)
            if weights:
                return self._tokens(weights)
        return self._of_span(written)

    def _of_span(self, written: bytes) -> Bonus:
        source, used = self._source, self._used()
        if not written:
            return self._starts(used)
        bonus: Bonus = {}
        copy = self._strengths.copy
        for at in source.places(written):
            end = at + len(written)
            weight = self._strengths.used if at in used else 1.0
            breaks = not _WORD_BYTE.match(source.text, end)
            if breaks:
                likely = _BREAK.match(source.text, end) is not None
                closing = self._strengths.closing if likely else 1.0
                _lift(bonus, self._closers, copy * (weight * closing))
                if likely:
                    weight *= self._strengths.beyond
            _lift(bonus, self._beginning(end), copy * weight)
        return bonus

    @cached_property
    def _closers(self) -> list[int]:
        found = self._tokenizer.by_piece
        return [found[piece] for piece in _CLOSERS if piece in found]

    def _beginning(self, at: int) -> list[int]:
        """The tokens that the source from a place on may begin with."""
        text, found = self._source.text[at : at + _LONGEST], self._tokenizer.by_piece
        pieces = [text[:end] for end in range(1, len(text) + 1)]
        return [found[piece] for piece in pieces if piece in found]

    def _starts(self, used: set[int]) -> Bonus:
        """Where a string is to begin: the words of the source, and nothing odd."""
        bonus, nearness = _Starts(), self._nearness()
        for (at, end), tokens in zip(self._source.words, self._word_starts, strict=True):
            weight = self._strengths.copy * (1.0 + nearness(at, end))
            weight *= self._strengths.used if at in used else 1.0
            _lift(bonus, tokens, weight)
        return bonus

    @cached_property
    def _word_starts(self) -> list[list[int]]:
        """For each word of the source, the tokens that what begins there may begin with."""
        return [self._beginning(at) for at, _ in self._source.words]

    def _used(self) -> set[int]:
        """The places in the source that values written before were copied from."""
        count, found = self._copied
        finished = self._scan.finished
        if count != len(finished):
            for _, value in finished[count:]:
                for at in self._source.places(value) if len(value) > 1 else ():
                    found.update(range(at, at + len(value)))
            self._copied = len(finished), found
        return found


@dataclass(frozen=True)
class _Source:
    """A text, the same in small letters, and where its words begin and end."""

    text: bytes
    folded: bytes
    words: tuple[tuple[int, int], ...]
    nearness: Nearness

    def places(self, written: bytes) -> Iterator[int]:
        """Where a span begins that reads as `written`, whatever the case of its letters."""
        wanted = written.lower()
        at = self.folded.find(wanted)
        while at >= 0:
            if at == 0 or not _WORD_BYTE.match(self.text, at - 1):
                yield at
            at = self.folded.find(wanted, at + 1)


@lru_cache(maxsize=8)
def _read(text: str) -> _Source:
    raw = text.encode()
    words = tuple((found.start(), found.end()) for found in _WORD.finditer(raw))
    return _Source(raw, raw.lower(), words, nearness(raw))


@lru_cache(maxsize=64)
def _stems_of(name: str, description: str) -> tuple[frozenset[str], frozenset[str]]:
    return stems_of(name, {"description": description})


@lru_cache(maxsize=64)
def _named(values: tuple[str, ...], text: str) -> tuple[bytes, ...]:
    return tuple(str(each).encode() for each in named_values(values, text))


def _nowhere(_start: int, _end: int) -> float:
    return 0.0


def _lift(bonus: Bonus, tokens: Sequence[int], weight: float) -> None:
    for token in tokens:
        if weight > bonus.get(token, 0.0):
            bonus[token] = weight


def _raise(weights: dict[bytes, float], piece: bytes, weight: float) -> None:
    weights[piece] = max(weight, weights.get(piece, -np.inf))


def _prefixes(weights: dict[bytes, float], text: bytes, weight: float) -> None:
    for n in range(1, len(text) + 1):
        _raise(weights, text[:n], weight)
