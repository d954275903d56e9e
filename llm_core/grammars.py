"""Compiled grammars of one vocabulary, the last used ones kept: schemas come again and again."""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from llm_core.errors import ModelError
from llm_core.finishing import MOST_TOKENS, Finisher
from llm_core.guides import BudgetError, GrammarGuide
from llm_core.limits import Bounds, Limits
from llm_core.schemas import closed, loosened
from llm_core.tokenizer import TextTokenizer

_KEPT = 32
_STYLE = {
    "lenient": True,
    "coerce_one_of": True,
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


class SchemaError(ModelError):
    """A schema or pattern that the grammar engine cannot follow."""


class Grammar:
    """A compiled grammar, to be followed any number of times, from several threads.

    `form` says what of a JSON schema it enforces: "closed", "open" or "loose".
    """

    def __init__(
        self, matcher: Any, way: list[int], owner: "Grammars", bounds: Bounds | None, form: str
    ) -> None:
        self.form = form
        self._matcher = matcher
        self._way = way
        self._owner = owner
        self._bounds = bounds
        self._lock = threading.Lock()

    def guide(self, max_tokens: int) -> GrammarGuide:
        """A guide for one reply of at most so many tokens.

        Raises BudgetError where not even the shortest reply found fits.
        """
        path: list[int] | None = self._way
        with self._lock:
            matcher = self._matcher.deep_copy()
        if len(self._way) > max_tokens:
            path = self._owner.finisher.shortest(matcher, max_tokens)
        if path is None:
            raise BudgetError(
                f"max_tokens={max_tokens} cannot hold the shortest reply of the asked format; "
                "raise max_tokens"
            )
        limits = None if self._bounds is None else (self._owner.limits, self._bounds)
        return GrammarGuide(
            matcher, self._owner.tokenizer, self._owner.finisher, path, max_tokens, limits
        )


class Grammars:
    """Compiles what replies may be; one object per vocabulary."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer
        self.finisher = Finisher(tokenizer)
        self.limits = Limits(tokenizer)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], Grammar] = OrderedDict()

    def of_json(self, schema: dict[str, Any], lead: str = "") -> Grammar:
        """`lead` and then JSON text of `schema`; raises SchemaError.

        Objects are closed where that leaves something to write. What the engine refuses is
        left out, and is then for a validator to find.
        """
        key = ("json", lead, json.dumps(schema))
        return self._find(key, self._forms(schema, lead), Bounds.of(schema))

    def of_lark(self, text: str) -> Grammar:
        """Text of a grammar in llguidance's form of Lark; raises SchemaError."""
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_lark(text)
        return self._find(("lark", text), iter([("text", grammar)]), None)

    def of_regex(self, pattern: str) -> Grammar:
        """Text that matches a pattern as a whole; raises SchemaError."""
        from llguidance import LLMatcher

        text = LLMatcher.grammar_from_regex(pattern)
        return self._find(("regex", pattern), iter([("text", text)]), None)

    def _forms(self, schema: dict[str, Any], lead: str) -> Iterator[tuple[str, str]]:
        from llguidance import LLMatcher

        start = f"start: {quoted(lead)} reply" if lead else "start: reply"
        for form, make in (("closed", closed), ("open", dict), ("loose", self._loosened)):
            text = json.dumps({**make(schema), "x-guidance": _STYLE})
            yield form, LLMatcher.grammar_from_lark(f"{start}\nreply: %json {text}\n")

    def _loosened(self, schema: dict[str, Any]) -> dict[str, Any]:
        return loosened(schema, self._knows)

    def _knows(self, pattern: str) -> bool:
        from llguidance import LLMatcher

        text = json.dumps({"type": "string", "pattern": pattern})
        return not self._matcher(LLMatcher.grammar_from_json_schema(text)).is_error()

    def _find(
        self, key: tuple[str, ...], forms: Iterator[tuple[str, str]], bounds: Bounds | None
    ) -> Grammar:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self._compile(forms, bounds)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _compile(self, forms: Iterator[tuple[str, str]], bounds: Bounds | None) -> Grammar:
        """The first form that compiles and that a reply can follow to an end."""
        reason = ""
        for form, text in forms:
            matcher = self._matcher(text)
            if matcher.is_error():
                reason = reason or matcher.get_error().split("\n", 1)[0]
                continue
            way = self.finisher.shortest(matcher, MOST_TOKENS)
            if way is not None:
                return Grammar(matcher, way, self, bounds, form)
            reason = reason or "no reply that satisfies it was found"
        raise SchemaError(f"the reply format cannot be compiled: {reason}")

    def _matcher(self, text: str) -> Any:
        from llguidance import LLMatcher

        return LLMatcher(self.tokenizer.tables, text, log_level=0)


def quoted(text: str) -> str:
    """A literal of the grammar."""
    return json.dumps(text, ensure_ascii=False)
