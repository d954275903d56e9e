"""Constrained decoding: a guide says which tokens may come next, so a reply cannot be malformed.

The grammar engine is llguidance. On top of it a guide always knows one way to finish, and
takes it when the token budget runs low, so that every reply ends complete.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llm_core.errors import ModelError
from llm_core.jsontext import JsonScan
from llm_core.schemas import bounded
from llm_core.tokenizer import TextTokenizer

# Single-byte tokens that lead to the end soonest, best first.
_CLOSE_STRING = (b'"',)
_CLOSE_VALUE = (b"}", b"]", b",", b":", b"n", b"null", b"0", b"1", b'"', b"t", b"f")
_LAST = (b"[", b"{")
# A greedy model can repeat a digit or a phrase until its budget is gone.
_LONGEST_NUMBER = 18  # characters
_LOOP, _ROUNDS = 24, 3  # bytes that were written so many times end a string
_LEAD = re.compile(r"\s+|[\w'’]+(?:[.,:/-]\w+)*|[^\w\s]")
# Scripts written without spaces: any run of characters (with their marks) is allowed.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
    "[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd]*"
)


class SchemaError(ModelError):
    """A schema or pattern that the grammar engine cannot follow."""


class BudgetError(ModelError):
    """The token budget cannot hold even the shortest reply that the grammar allows."""


class Guide(Protocol):
    """What decoding asks of a constraint."""

    def mask(self) -> NDArray[np.bool_]:
        """Which tokens may come next, (vocabulary,)."""
        ...

    def accept(self, token: int) -> int:
        """Advance by an allowed token; returns the token really taken.

        A guide with a budget takes another one where `token` could not be finished in time.
        """
        ...

    def forced(self) -> list[int]:
        """The tokens that must come now, perhaps none; the guide has advanced past them."""
        ...

    def done(self) -> bool:
        """Whether the reply is complete and nothing more may follow."""
        ...


class GrammarGuide:
    """A guide over one llguidance grammar and one token budget."""

    def __init__(self, grammar: str, tokenizer: TextTokenizer, max_tokens: int) -> None:
        from llguidance import LLMatcher

        self._tokenizer = tokenizer
        self._matcher = LLMatcher(tokenizer.tables, grammar, log_level=0)
        if self._matcher.is_error():
            reason = self._matcher.get_error().split("\n", 1)[0]
            raise SchemaError(f"the reply format cannot be compiled: {reason}")
        self._left = max_tokens
        self._scan = JsonScan()
        self._closing = False
        self._ended = False
        path = self._shortest(max_tokens)
        if path is None:
            raise BudgetError(
                f"max_tokens={max_tokens} cannot hold the shortest reply of the asked format; "
                "raise max_tokens"
            )
        self._path: list[int] = path

    def mask(self) -> NDArray[np.bool_]:
        """Which tokens may come next, (vocabulary,)."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: self._tokenizer.vocabulary].view(bool)
        value = self._scan.value
        if self._scan.in_number and len(value) >= _LONGEST_NUMBER:
            ended = allowed & ~self._tokenizer.digits
            return ended if ended.any() else allowed
        if self._scan.in_string and value.count(value[-_LOOP:]) >= _ROUNDS < len(value) / _LOOP:
            return self._only(b'"', allowed)
        return allowed

    def accept(self, token: int) -> int:
        """Advance; near the end of the budget the known way to finish is taken instead."""
        if token in self._tokenizer.end_ids:
            self._ended = True
            return token
        if not self._closing and self._advance([token]):
            return token
        self._closing = True
        if not self._path:
            self._ended = True
            return self._tokenizer.end_ids[0]
        token = self._path[0]
        self._commit([token], self._path[1:])
        self._matcher.consume_token(token)
        return token

    def forced(self) -> list[int]:
        """The tokens that must come now; the guide has advanced past them."""
        if self.done():
            return []
        tokens = list(self._matcher.compute_ff_tokens())
        if not self._closing:
            if not tokens or self._advance(tokens):
                return tokens
            self._closing = True
        rest = list(self._path)
        self._matcher.consume_tokens(rest)
        self._commit(rest, [])
        return rest

    def done(self) -> bool:
        """Whether the reply is complete and nothing more may follow."""
        if self._ended or self._left <= 0 or (self._closing and not self._path):
            return True
        return bool(self._matcher.is_stopped())

    def _only(self, piece: bytes, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask of one token where that is allowed; otherwise the mask as it was."""
        token = self._tokenizer.by_piece.get(piece)
        if token is None or not allowed[token]:
            return allowed
        mask = np.zeros_like(allowed)
        mask[token] = True
        return mask

    def _advance(self, tokens: list[int]) -> bool:
        """Take tokens if the reply can still be finished; otherwise leave all as it was."""
        if not self._matcher.consume_tokens(tokens):
            raise ValueError(f"tokens {tokens} are not allowed here")
        before = self._scan
        self._scan = before.copy()
        self._read(self._scan, tokens)
        path = self._path_after(tokens, self._left - len(tokens))
        self._scan = before
        if path is None:
            self._matcher.rollback(len(tokens))
            return False
        self._commit(tokens, path)
        return True

    def _commit(self, tokens: list[int], path: list[int]) -> None:
        self._read(self._scan, tokens)
        self._left -= len(tokens)
        self._path = path

    def _path_after(self, tokens: list[int], left: int) -> list[int] | None:
        """A way to finish within `left` tokens, the known one where it still serves."""
        if left < 0:
            return None
        old = self._path
        if old[: len(tokens)] == tokens and len(old) - len(tokens) <= left:
            return old[len(tokens) :]
        if len(old) <= left:
            whole = [*old, self._tokenizer.end_ids[0]]
            if self._matcher.validate_tokens(whole) == len(whole):
                return old
        return self._shortest(left)

    def _shortest(self, left: int) -> list[int] | None:
        """The first simulated way to finish within `left` tokens; None if none is found."""
        for style in (self._longest, _first, _last):
            path = self._simulate(left, style)
            if path is not None:
                return path
        return None

    def _simulate(self, left: int, style: Callable[[NDArray[np.intp]], int]) -> list[int] | None:
        matcher, scan = self._matcher.deep_copy(), self._scan.copy()
        path: list[int] = []
        while not matcher.is_accepting():
            if len(path) >= left or matcher.is_stopped():
                return None
            tokens = matcher.compute_ff_tokens() or [
                self._closer(matcher.compute_bitmask(), scan.in_string, style)
            ]
            if not matcher.consume_tokens(tokens):
                return None
            self._read(scan, tokens)
            path += tokens
        return path if len(path) <= left else None

    def _closer(
        self, bits: bytes, in_string: bool, style: Callable[[NDArray[np.intp]], int]
    ) -> int:
        pieces = self._tokenizer.by_piece
        for piece in _CLOSE_STRING if in_string else _CLOSE_VALUE:
            token = pieces.get(piece)
            if token is not None and bits[token >> 3] >> (token & 7) & 1:
                return token
        allowed = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
        ids = np.flatnonzero(allowed[: self._tokenizer.vocabulary])
        opening = [pieces.get(piece, -1) for piece in _LAST]
        rest = ids[~np.isin(ids, opening)]
        return style(rest if rest.size else ids)

    def _longest(self, ids: NDArray[np.intp]) -> int:
        return int(ids[self._tokenizer.letters[ids].argmax()])

    def _read(self, scan: JsonScan, tokens: Iterable[int]) -> None:
        for token in tokens:
            scan.feed(self._tokenizer.pieces[token])


def _first(ids: NDArray[np.intp]) -> int:
    return int(ids[0])


def _last(ids: NDArray[np.intp]) -> int:
    return int(ids[-1])


def json_guide(
    schema: dict[str, Any], tokenizer: TextTokenizer, max_tokens: int, *, lead: str = ""
) -> GrammarGuide:
    """Replies that are `lead` and JSON text of `schema`, written as `json.dumps` writes it.

    What the grammar engine does not know (`not`, `if`, some formats) is not enforced here:
    validate the reply as well. Raises SchemaError or BudgetError.
    """
    options = {
        "lenient": True,
        "coerce_one_of": True,
        "whitespace_flexible": False,
        "item_separator": ", ",
        "key_separator": ": ",
    }
    text = json.dumps({**bounded(schema), "x-guidance": options})
    start = f"start: {_quoted(lead)} reply" if lead else "start: reply"
    return _lark_guide(f"{start}\nreply: %json {text}\n", tokenizer, max_tokens)


def choice_guide(choices: Sequence[str], tokenizer: TextTokenizer, max_tokens: int) -> GrammarGuide:
    """Replies that are one of `choices`, of those that the budget can hold."""
    fitting = [c for c in choices if c and len(tokenizer.encode(c, marks=False)) <= max_tokens]
    if not fitting:
        raise BudgetError(f"max_tokens={max_tokens} cannot hold any of {len(choices)} choices")
    return _lark_guide("start: " + " | ".join(map(_quoted, fitting)), tokenizer, max_tokens)


def regex_guide(pattern: str, tokenizer: TextTokenizer, max_tokens: int) -> GrammarGuide:
    """Replies that match `pattern` as a whole (Rust syntax, no look-around)."""
    from llguidance import LLMatcher

    return GrammarGuide(LLMatcher.grammar_from_regex(pattern), tokenizer, max_tokens)


def substring_guide(
    prefix: str, text: str, tokenizer: TextTokenizer, max_tokens: int
) -> GrammarGuide:
    """Replies that are `prefix` and then one contiguous run of whole words of `text`."""
    chunks = json.dumps(split_words(text))
    if not text.strip():
        raise SchemaError("the text to take words from is empty")
    start = f"{_quoted(prefix)} RUN" if prefix else "RUN"
    grammar = (
        f"start: {start}\n"
        "RUN: WORDS & /(?s:.*[^\\s].*)/\n"
        f'WORDS: %regex {{"substring_chunks": {chunks}}}\n'
    )
    return _lark_guide(grammar, tokenizer, max_tokens)


def split_words(text: str) -> list[str]:
    """`text` cut into words, punctuation marks and blanks; joined they are `text` again."""
    chunks: list[str] = []
    at = 0
    while at < len(text):
        found = _UNSPACED.match(text, at) or _LEAD.match(text, at)
        end = found.end() if found else at + 1
        cut = next((i for i in range(at + 1, end) if _UNSPACED.match(text, i)), end)
        end = cut if found and not _UNSPACED.match(text, at) else end
        chunks.append(text[at:end])
        at = end
    return chunks


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _lark_guide(lark: str, tokenizer: TextTokenizer, max_tokens: int) -> GrammarGuide:
    from llguidance import LLMatcher

    return GrammarGuide(LLMatcher.grammar_from_lark(lark), tokenizer, max_tokens)
