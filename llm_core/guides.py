"""A guide over one grammar and one token budget: no reply is malformed, none is cut short.

The guide always knows one way to finish, and takes it when the budget runs low, or when the
grammar engine gives up: some patterns have more states than it keeps.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from llm_core.errors import ModelError
from llm_core.jsontext import JsonScan
from llm_core.limits import Bounds, Limits
from llm_core.masks import Mask
from llm_core.tokenizer import TextTokenizer

_NEAR = 32  # tokens: so near the end of the budget each way to finish is looked for afresh


class BudgetError(ModelError):
    """The token budget cannot hold even the shortest reply that the grammar allows."""


class Guide(Protocol):
    """What decoding asks of a constraint."""

    def mask(self) -> Mask:
        """Which tokens may come next."""
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


class Finish(Protocol):
    """What finds ways to end a reply."""

    def __call__(
        self, matcher: Any, left: int, *, known: Sequence[int] = (), forced: Sequence[int] = ()
    ) -> list[int] | None:
        """A way from where `matcher` stands, of at most `left` tokens; None for none.

        `known` is a way from a little earlier, and `forced` are tokens that must come now.
        """
        ...


class GrammarGuide:
    """A guide for one reply; `path` is a way to finish it from the start.

    `matcher` is an llguidance matcher at the start, and the guide's own from now on; `limits`
    count for JSON text alone.
    """

    def __init__(
        self,
        matcher: Any,
        tokenizer: TextTokenizer,
        finish: Finish,
        path: Sequence[int],
        max_tokens: int,
        limits: tuple[Limits, Bounds] | None = None,
    ) -> None:
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._finish = finish
        self._left = max_tokens
        self._path = list(path)
        self._limits = limits
        self._scan = JsonScan()
        self._closing = False
        self._ended = False
        self._ahead: list[int] | None = None  # what is forced now, where that was asked already

    def mask(self) -> Mask:
        """Which tokens may come next."""
        forbidden = None
        if self._limits is not None:
            limits, bounds = self._limits
            forbidden = limits.forbidden(self._scan, bounds)
        return Mask(self._matcher, self._tokenizer.vocabulary, forbidden)

    def accept(self, token: int) -> int:
        """Advance; near the end of the budget the known way to finish is taken instead."""
        if token in self._tokenizer.end_ids and not self._matcher.is_error():
            self._ended = True
            return token
        if not self._closing and self._advance([token]):
            return token
        self._closing = True
        if not self._path:
            self._ended = True
            return self._tokenizer.end_ids[0]
        token = self._path[0]
        self._matcher.consume_token(token)
        self._commit([token], self._path[1:])
        return token

    def forced(self) -> list[int]:
        """The tokens that must come now; the guide has advanced past them."""
        if self.done():
            return []
        if not self._closing:
            tokens = self._matcher.compute_ff_tokens() if self._ahead is None else self._ahead
            sound = not self._matcher.is_error()
            if sound and (not tokens or self._advance(tokens)):
                return tokens
            self._closing = True
        rest = self._path
        self._matcher.consume_tokens(rest)
        self._commit(rest, [])
        return rest

    def done(self) -> bool:
        """Whether the reply is complete and nothing more may follow."""
        if self._ended or self._left <= 0 or (self._closing and not self._path):
            return True
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    def _advance(self, tokens: list[int]) -> bool:
        """Take tokens if the reply can still be finished; otherwise leave all as it was."""
        self._ahead = None
        if not self._matcher.consume_tokens(tokens):
            if "satisfy the grammar" in self._matcher.get_error():
                raise ValueError(f"tokens {tokens} are not allowed here")
            return False  # the engine gave up
        path = self._path_after(tokens, self._left - len(tokens))
        if path is None:
            self._matcher.rollback(len(tokens))  # in vain where the engine has given up
            return False
        self._commit(tokens, path)
        return True

    def _commit(self, tokens: list[int], path: list[int]) -> None:
        if self._limits is not None:
            for token in tokens:
                self._scan.feed(self._tokenizer.pieces[token])
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
        if left <= len(old) + _NEAR:
            return self._finish(self._matcher, left)
        self._ahead = list(self._matcher.compute_ff_tokens())
        return self._finish(self._matcher, left, known=old, forced=self._ahead)
