"""Whether a grammar can write a given JSON value, in one or another order of its keys."""

import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

_TRIES = 40  # keys and orders of keys that are given up before the value is

Encode = Callable[[str], list[int]]


class Speller:
    """Writes values through a grammar's matcher (llguidance), as `json.dumps` spaces them.

    An object has no order but a grammar has one, or several, so keys are tried until all fit:
    first those that shut none of the others out.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = lru_cache(maxsize=4096)(encode)
        self._left = _TRIES

    def can_write(self, matcher: Any, value: Any) -> bool:
        """Whether the whole reply may be this value; the matcher stays as it is."""
        self._left = _TRIES
        text = json.dumps(value, ensure_ascii=False)
        after = self._text(matcher, text) or self._written(matcher, value)
        return after is not None and bool(after.is_accepting())

    def _written(self, matcher: Any, value: Any) -> Any:
        """A copy of the matcher behind the value; None where it cannot be written."""
        if isinstance(value, dict) and value:
            return self._object(matcher, value)
        if isinstance(value, list) and value:
            return self._array(matcher, value)
        for text in _spellings(value):
            after = self._text(matcher, text)
            if after is not None:
                return after
        return None

    def _array(self, matcher: Any, values: Sequence[Any]) -> Any:
        for place, value in enumerate(values):
            matcher = self._text(matcher, ", " if place else "[")
            matcher = None if matcher is None else self._written(matcher, value)
            if matcher is None:
                return None
        return self._text(matcher, "]")

    def _object(self, matcher: Any, pairs: dict[str, Any]) -> Any:
        after = self._pairs(matcher, pairs, "{")
        return None if after is None else self._text(after, "}")

    def _pairs(self, matcher: Any, rest: dict[str, Any], opening: str) -> Any:
        """A copy of the matcher behind all pairs, in some order that `}` may follow."""
        for key, after in self._openings(matcher, rest, opening):
            if self._left <= 0:
                break
            others = {other: value for other, value in rest.items() if other != key}
            whole = after if not others else self._pairs(after, others, ", ")
            if whole is not None and (others or self._text(whole, "}") is not None):
                return whole
            self._left -= 1
        return None

    def _openings(
        self, matcher: Any, rest: dict[str, Any], opening: str
    ) -> Iterator[tuple[str, Any]]:
        """The pairs that may be written first; first those that shut none of the others out."""
        names = [key for key in rest if self._opened(matcher, opening, key) is not None]
        shutting = []  # names: copies of the matcher for all would fill the memory
        for key in names:
            after = self._paired(matcher, opening, key, rest)
            if after is None:
                self._left -= 1
                if self._left <= 0:
                    return
            elif all(self._may_follow(after, other) for other in names if other != key):
                yield key, after
            else:
                shutting.append(key)
        for key in shutting:
            after = self._paired(matcher, opening, key, rest)
            if after is not None:
                yield key, after

    def _paired(self, matcher: Any, opening: str, key: str, pairs: dict[str, Any]) -> Any:
        start = self._opened(matcher, opening, key)
        return None if start is None else self._written(start, pairs[key])

    def _opened(self, matcher: Any, opening: str, key: str) -> Any:
        return self._text(matcher, f"{opening}{json.dumps(key, ensure_ascii=False)}: ")

    def _may_follow(self, matcher: Any, key: str) -> bool:
        return self._opened(matcher, ", ", key) is not None

    def _text(self, matcher: Any, text: str) -> Any:
        ids = self._encode(text)
        after = matcher.deep_copy()
        return after if after.try_consume_tokens(ids) == len(ids) else None


def _spellings(value: Any) -> Iterator[str]:
    """The texts of a value that has no parts."""
    yield json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and value.is_integer():
        yield str(int(value))  # 5.0 is an integer to a schema
    if isinstance(value, float) and isfinite(value):
        yield format(Decimal(repr(value)), "f")  # not 1e-06: digits alone meet a bound
