"""Limits on JSON text while it is generated, where its schema states none.

A grammar lets a string, a number or an array go on for ever, and a small model does: it
repeats a digit or a phrase until its budget is gone. The limits stand beside the grammar and
not in it, so that it still accepts everything that is valid.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.jsontext import JsonScan
from llm_core.schemas import numbers_of
from llm_core.tokenizer import TextTokenizer

Tokens = NDArray[np.bool_]

_LOOP, _ROUNDS = 24, 3  # bytes that were written so many times end a string
_DIGIT = re.compile(rb"[0-9]")
_EXPONENT = re.compile(rb"[0-9.+-]*[eE]")
# A comma that begins another item: behind a string that ends, and elsewhere.
_COMMA_INSIDE = re.compile(rb'"[\]}]*,')
_COMMA_OUTSIDE = re.compile(rb"[a-z0-9.+-]*[\]}]*,")


@dataclass(frozen=True)
class Bounds:
    """The most bytes of a string and of a key, items, keys, and digits around a point."""

    string: int = 240
    key: int = 64
    items: int = 16
    keys: int = 64
    whole: int = 15
    decimals: int = 9

    @classmethod
    def of(cls, schema: Any) -> "Bounds":
        """Those that leave room for whatever the schema itself speaks of."""
        longest = max(numbers_of(schema, "maxLength", "minLength"), default=0)
        most = max(numbers_of(schema, "maxItems", "minItems"), default=0)
        widest = max(numbers_of(schema, "maxProperties", "minProperties"), default=0)
        return cls(max(cls.string, longest), cls.key, max(cls.items, most), max(cls.keys, widest))


class Limits:
    """Says which tokens would go past the bounds; one per vocabulary."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        def those(holds: Callable[[bytes], Any]) -> Tokens:
            return np.array([bool(piece and holds(piece)) for piece in tokenizer.pieces])

        self._digits = those(_DIGIT.match)
        self._exponents = those(_EXPONENT.match)
        self._zeros = those(lambda piece: piece.startswith(b"0")) | self._exponents
        self._commas_inside = those(_COMMA_INSIDE.search)
        self._commas = those(_COMMA_OUTSIDE.match)
        self._more = self._digits | self._exponents
        self._within = those(lambda piece: not piece.startswith(b'"'))

    def forbidden(self, scan: JsonScan, bounds: Bounds) -> Tokens | None:
        """The tokens (V,) that the bounds forbid here; None for none."""
        if scan.in_string:
            return self._of_string(scan, bounds)
        full = self._is_full(scan, bounds)
        if not scan.in_number:
            return self._commas if full else None
        whole, point, decimals = scan.value.partition(b".")
        ends = len(decimals) >= bounds.decimals if point else len(whole) >= bounds.whole
        some = self._more if ends else self._exponents
        if ends and decimals.endswith(b"0"):  # 0.000 may have to go on, but not with zeros alone
            some = self._zeros
        return some | self._commas if full else some

    def _of_string(self, scan: JsonScan, bounds: Bounds) -> Tokens | None:
        value = scan.value
        size = len(value)
        if size >= (bounds.key if scan.is_key else bounds.string):
            return self._within
        if size > _LOOP * _ROUNDS and value.count(value[-_LOOP:]) >= _ROUNDS:
            return self._within
        return self._commas_inside if self._is_full(scan, bounds) else None

    def _is_full(self, scan: JsonScan, bounds: Bounds) -> bool:
        return scan.items >= bounds.items or scan.keys >= bounds.keys
