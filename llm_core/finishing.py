"""How a half-written reply can still end: a search through the grammar for a short way out.

A grammar says what may come next, not what leads to the end. The search walks a copy of the
matcher: it takes what is forced, closes what is open, and inside a string that may not close
yet prefers bytes that have only now become possible, for these mean that a pattern moves on.
Once it stands where an earlier way to finish has been, the rest of that is taken.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.masks import Allowed, unpacked
from llm_core.tokenizer import TextTokenizer

Style = Callable[[NDArray[np.intp]], int]  # which of some tokens to go on with

# Single-byte tokens that lead to the end soonest, best first.
_CLOSE = (b"}", b"]", b",", b":", b"n", b"0", b"1", b"t", b"f")
_LATER = (b"}", b"]", b",", b":", b"1", b"0")  # in a number: zeros alone may lead nowhere
_WITHIN = b"0123456789."  # what ends so is in a number
_DIGITS = 64  # in a row; more are no number, so other bytes are tried
_TEXT = (b"a", b"q", b"z", b"A", b"Q", b"_")  # nowhere but in a string
_OPEN = (b"[", b"{", b'"', b"-")
MOST_TOKENS = 4096  # a search that has not ended by then goes in circles
_LEAST = 4  # bytes that tell one place of a reply from others
_PLACES = 32  # of a known way that one search tries: items that repeat have many that do not serve


class _Known:
    """A way to finish from somewhere else, read as text."""

    def __init__(self, way: Sequence[int], pieces: Sequence[bytes]) -> None:
        self._way = list(way)
        self._places = _PLACES
        read = [pieces[token] for token in way]
        self._text = b"".join(read)
        # Bytes before a place, and tokens before it.
        self._ends = {size: at for at, size in enumerate(accumulate(map(len, read)), start=1)}

    def behind(self, text: bytes) -> Iterator[list[int]]:
        """What is left of it behind each place where it reads `text`, a bounded number in all."""
        at = self._text.find(text) if len(text) >= _LEAST else -1
        while at >= 0 and self._places:
            number = self._ends.get(at + len(text))
            if number is not None:
                self._places -= 1
                yield self._way[number:]
            at = self._text.find(text, at + 1)


@dataclass(frozen=True)
class _Manner:
    """How a search goes on: at a free choice, within a number, and with which ends of strings."""

    style: Style
    later: Sequence[int]
    hints: Sequence[Sequence[int]]
    known: _Known


class Finisher:
    """Finds ways to finish within a budget; one per vocabulary."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        pieces = tokenizer.by_piece
        self._pieces = tokenizer.pieces
        self._end = tokenizer.end_ids[0]
        self._vocabulary = tokenizer.vocabulary
        self._letters = tokenizer.letters
        self._closers = [pieces[piece] for piece in _CLOSE if piece in pieces]
        self._later = [pieces[piece] for piece in _LATER if piece in pieces]
        self._numeric = {token for piece, token in pieces.items() if piece[-1] in _WITHIN}
        self._quote = pieces[b'"']
        self._text = [pieces[piece] for piece in _TEXT if piece in pieces]
        self._single = np.array(
            [pieces[bytes([byte])] for byte in range(256) if bytes([byte]) in pieces], np.intp
        )
        self._plain = np.ones(tokenizer.vocabulary, dtype=bool)
        self._plain[[pieces[piece] for piece in _OPEN if piece in pieces]] = False

    def shortest(
        self,
        matcher: Any,
        left: int,
        hints: Sequence[Sequence[int]] = (),
        *,
        known: Sequence[int] = (),
        forced: Sequence[int] = (),
    ) -> list[int] | None:
        """The first way found to finish within `left` tokens; None where there is none.

        `matcher` is an llguidance matcher and stays as it is; `hints` are tokens that may well
        end a string, `known` is a way to finish from a little earlier, and `forced` are tokens
        that are known to be forced now.
        """
        earlier = _Known(known, self._pieces)
        rest = self._rest(matcher, forced, earlier, lead=forced)
        if rest is not None and len(forced) + len(rest) <= left:
            return [*forced, *rest]
        tries = [(style, self._later) for style in (self._longest, _first, _last)]
        for style, later in [*tries, (self._longest, self._closers)]:
            path = self._walk(matcher.deep_copy(), left, _Manner(style, later, hints, earlier))
            if path is not None:
                return path
        return None

    def _walk(self, matcher: Any, left: int, manner: "_Manner") -> list[int] | None:
        path: list[int] = []
        digits = 0  # that were chosen one after the other
        before: Allowed | None = None  # single bytes, where the last step was one of `style`
        left = min(left, MOST_TOKENS)
        while not matcher.is_accepting():
            if len(path) >= left or matcher.is_stopped():
                return None
            closers = manner.later if digits else self._closers
            closers = closers if digits < _DIGITS else []
            forced = matcher.compute_ff_tokens()
            tokens = forced or self._closing(matcher, manner.hints, closers)
            if tokens:
                before = None
            else:
                allowed = unpacked(matcher.compute_bitmask(), self._vocabulary)
                tokens = [self._onward(allowed, before, manner.style)]
                before = allowed
            digits = digits + 1 if tokens[-1] in self._numeric else 0
            if not matcher.consume_tokens(tokens):
                return None
            path += tokens
            rest = self._rest(matcher, forced, manner.known)
            if rest is not None and len(path) + len(rest) <= left:
                return path + rest
        return path if len(path) <= left else None

    def _rest(
        self, matcher: Any, forced: Sequence[int], known: _Known, *, lead: Sequence[int] = ()
    ) -> list[int] | None:
        """The end of the known way where it serves behind these tokens.

        `lead` are those of them that the matcher has not read.
        """
        for rest in known.behind(b"".join([self._pieces[token] for token in forced])):
            whole = [*lead, *rest, self._end]
            if matcher.validate_tokens(whole) == len(whole):
                return rest
        return None

    def _closing(
        self, matcher: Any, hints: Sequence[Sequence[int]], order: Sequence[int]
    ) -> list[int]:
        """Tokens that end something here; none where there are none."""
        if matcher.validate_tokens([self._quote]):
            return [self._quote]
        whole = (hint for hint in hints if matcher.validate_tokens(list(hint)) == len(hint))
        ends = list(next(whole, ()))
        if ends or any(matcher.validate_tokens([token]) for token in self._text):
            return ends  # inside a string a bracket closes nothing
        closers = (token for token in order if matcher.validate_tokens([token]))
        return [token for token in [next(closers, None)] if token is not None]

    def _onward(self, allowed: Allowed, before: Allowed | None, style: Style) -> int:
        if before is not None:
            single = self._single
            new = single[allowed[single] & ~before[single]]
            if new.size:
                return int(new[0])
        rest = np.flatnonzero(allowed & self._plain)
        return style(rest if rest.size else np.flatnonzero(allowed))

    def _longest(self, ids: NDArray[np.intp]) -> int:
        return int(ids[self._letters[ids].argmax()])


def _first(ids: NDArray[np.intp]) -> int:
    return int(ids[0])


def _last(ids: NDArray[np.intp]) -> int:
    return int(ids[-1])
