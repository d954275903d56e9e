"""Compiled grammars of one vocabulary, the last used ones kept: schemas come again and again."""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from llm_core.errors import ModelError
from llm_core.finishing import MOST_TOKENS, Finisher
from llm_core.guides import BudgetError, GrammarGuide
from llm_core.limits import Bounds, Limits
from llm_core.patterns import short_ends
from llm_core.schemas import (
    apart,
    closed,
    counted,
    far_bound,
    loosened,
    narrowed,
    near,
    patterns_of,
    referred,
)
from llm_core.tokenizer import TextTokenizer

FORMS = ("closed", "narrow", "open", "loose")  # of a JSON schema, the strictest first

_PLACE = re.compile(r"^at \d+\(\d+\): (?:failed to compile JSON schema: )?")
_KEPT = 32
_HINTS = 100  # patterns of a schema that are looked at
# Short texts in formats that a search from character to character may not find.
_SHORT = ("a@b.c", "a:b", "2000-01-01T00:00:00Z", "2000-01-01", "00:00:00Z", "P1D", "::", "0.0.0.0")
_STYLE = {
    "lenient": True,
    "coerce_one_of": True,
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


class SchemaError(ModelError):
    """A schema or pattern that the grammar engine cannot follow."""


@dataclass(frozen=True)
class _About:
    """What is known of a grammar's text besides: its bounds, how strings end, what is too far."""

    bounds: Bounds | None = None
    hints: tuple[tuple[int, ...], ...] = ()
    far: str | None = None


class Grammar:
    """A compiled grammar, to be followed any number of times, from several threads.

    `form` says what of a JSON schema it enforces: one of FORMS.
    """

    def __init__(
        self, matcher: Any, way: list[int], owner: "Grammars", about: "_About", form: str
    ) -> None:
        self.form = form
        self._matcher = matcher
        self._way = way
        self._owner = owner
        self._bounds = about.bounds
        self._finish = partial(owner.finisher.shortest, hints=about.hints)
        self._lock = threading.Lock()

    @property
    def shortest(self) -> int:
        """The tokens of the shortest reply that is known."""
        return len(self._way)

    def matcher(self) -> Any:
        """An llguidance matcher of one's own, at the start."""
        with self._lock:
            return self._matcher.deep_copy()

    def sound(self) -> bool:
        """Whether the engine still follows it: one that gave up has done so for good."""
        matcher = self.matcher()
        return bool(matcher.validate_tokens(self._way) == len(self._way))

    def guide(self, max_tokens: int) -> GrammarGuide:
        """A guide for one reply of at most so many tokens.

        Raises BudgetError where not even the shortest reply found fits.
        """
        path: list[int] | None = self._way
        matcher = self.matcher()
        if len(self._way) > max_tokens:
            path = self._finish(matcher, max_tokens)
        if path is None:
            raise BudgetError(
                f"max_tokens={max_tokens} cannot hold the shortest reply of the asked format; "
                "raise max_tokens"
            )
        limits = None if self._bounds is None else (self._owner.limits, self._bounds)
        tokenizer = self._owner.tokenizer
        return GrammarGuide(matcher, tokenizer, self._finish, path, max_tokens, limits)


class Grammars:
    """Compiles what replies may be; one object per vocabulary."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer
        self.finisher = Finisher(tokenizer)
        self.limits = Limits(tokenizer)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], Grammar] = OrderedDict()

    def of_json(
        self, schema: dict[str, Any], lead: str = "", forms: Sequence[str] = FORMS
    ) -> Grammar:
        """`lead` and then JSON text of `schema`, in the first of `forms` that can be followed.

        Objects are closed where that leaves something to write. What the engine refuses is
        left out, and is then for a validator to find. Raises SchemaError.
        """
        try:
            key = ("json", *forms, lead, json.dumps(schema))
            return self._find(key, self._forms(schema, lead, forms), lambda: self._about(schema))
        except RecursionError:
            raise SchemaError(
                "the reply format cannot be compiled: it is nested too deeply; make it flatter"
            ) from None

    def of_lark(self, text: str) -> Grammar:
        """Text of a grammar in llguidance's form of Lark; raises SchemaError."""
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_lark(text)
        return self._find(("lark", text), iter([("text", grammar)]), _About)

    def of_regex(self, pattern: str) -> Grammar:
        """Text that matches a pattern as a whole; raises SchemaError."""
        from llguidance import LLMatcher

        text = LLMatcher.grammar_from_regex(pattern)
        return self._find(("regex", pattern), iter([("text", text)]), _About)

    def _forms(
        self, schema: dict[str, Any], lead: str, forms: Sequence[str]
    ) -> Iterator[tuple[str, str]]:
        from llguidance import LLMatcher

        start = f"start: {quoted(lead)} reply" if lead else "start: reply"
        make: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]
        make = {"closed": closed, "narrow": self._narrowed, "open": dict, "loose": self._loosened}
        followed = near(referred(schema))
        for form in forms:
            made = apart(make[form](followed), exactly=form in FORMS[2:])
            text = json.dumps({**counted(made), "x-guidance": _STYLE})
            yield form, LLMatcher.grammar_from_lark(f"{start}\nreply: %json {text}\n")

    def _about(self, schema: dict[str, Any]) -> "_About":
        texts = [text for each in islice(patterns_of(schema), _HINTS) for text in short_ends(each)]
        texts = list(dict.fromkeys([*texts, *_SHORT]))
        ends = [json.dumps(text, ensure_ascii=False)[1:] for text in texts]
        hints = [tuple(self.tokenizer.encode(end, marks=False)) for end in ends]
        return _About(Bounds.of(schema), tuple(sorted(hints, key=len)), far_bound(schema))

    def _narrowed(self, schema: dict[str, Any]) -> dict[str, Any]:
        return closed(narrowed(schema, self._knows))

    def _loosened(self, schema: dict[str, Any]) -> dict[str, Any]:
        return loosened(narrowed(schema, self._knows), self._knows)

    def _knows(self, pattern: str) -> bool:
        from llguidance import LLMatcher

        text = json.dumps({"type": "string", "pattern": pattern})
        return not self._matcher(LLMatcher.grammar_from_json_schema(text)).is_error()

    def _find(
        self,
        key: tuple[str, ...],
        forms: Iterator[tuple[str, str]],
        about: Callable[[], "_About"],
    ) -> Grammar:
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.sound():
                self._kept.move_to_end(key)
                return kept
        found = self._compile(forms, about())
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _compile(self, forms: Iterator[tuple[str, str]], about: "_About") -> Grammar:
        """The first form that compiles and that a reply can follow to an end."""
        reason = ""
        tried: set[str] = set()
        for form, text in forms:
            if text in tried:
                continue
            tried.add(text)
            matcher = self._matcher(text)
            if matcher.is_error():
                reason = reason or _told(matcher.get_error(), about.far)
                continue
            way = self.finisher.shortest(matcher, MOST_TOKENS, about.hints)
            if way is not None:
                return Grammar(matcher, way, self, about, form)
            reason = reason or "no reply that satisfies it was found"
        raise SchemaError(f"the reply format cannot be compiled: {reason}")

    def _matcher(self, text: str) -> Any:
        from llguidance import LLMatcher

        return LLMatcher(self.tokenizer.tables, text, log_level=0)


def _told(error: str, far: str | None) -> str:
    """What the engine says, in one line and without where in its own text it stood."""
    if far is not None and "range" in error:
        return f"{far} asks for a number too large to be written; give one nearer to 0"
    first, *lines = error.split("\n")
    causes = (line for line in lines if line.startswith("error: "))
    return " ".join([_PLACE.sub("", first).rstrip(":"), *islice(causes, 1)])


def quoted(text: str) -> str:
    """A literal of the grammar."""
    return json.dumps(text, ensure_ascii=False)
