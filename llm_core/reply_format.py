"""The form that a text reply must have: JSON of a schema, a pattern, or one of several choices."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llm_core.constrain import Guide, choice_guide, json_guide, regex_guide
from llm_core.errors import ModelError
from llm_core.structured import grammar_holds, schema_hint, violation
from llm_core.tokenizer import TextTokenizer

_FORMS = (
    'response_format must be {"type": "text"}, {"type": "json_object"}, '
    '{"type": "json_schema", "json_schema": {"schema": {...}}}, '
    '{"type": "regex", "pattern": "..."} or {"type": "choice", "choices": ["...", ...]}, not '
)


@dataclass(frozen=True)
class JsonFormat:
    """JSON text of a schema."""

    schema: dict[str, Any]

    @cached_property
    def certain(self) -> bool:
        """Whether no reply that is decoded under the guide can fail the check."""
        return grammar_holds(self.schema)

    def guide(self, tokenizer: TextTokenizer, max_tokens: int) -> Guide:
        """What the reply is decoded under; raises SchemaError or BudgetError."""
        return json_guide(self.schema, tokenizer, max_tokens)

    def hint(self) -> str:
        """A line for the prompt."""
        return schema_hint(self.schema)

    def fault(self, text: str) -> str | None:
        """Why a reply does not have this form; None when it does."""
        return violation(json.loads(text), self.schema)


@dataclass(frozen=True)
class PatternFormat:
    """Text that matches a regular expression as a whole (Rust syntax, no look-around)."""

    pattern: str

    def guide(self, tokenizer: TextTokenizer, max_tokens: int) -> Guide:
        """What the reply is decoded under; raises SchemaError or BudgetError."""
        return regex_guide(self.pattern, tokenizer, max_tokens)

    def hint(self) -> str:
        """Nothing: a small model reads no patterns."""
        return ""


@dataclass(frozen=True)
class ChoiceFormat:
    """One of several texts."""

    choices: tuple[str, ...]

    def guide(self, tokenizer: TextTokenizer, max_tokens: int) -> Guide:
        """What the reply is decoded under; raises SchemaError or BudgetError."""
        return choice_guide(self.choices, tokenizer, max_tokens)

    def hint(self) -> str:
        """A line for the prompt."""
        return f"Answer with one of these, and nothing else: {', '.join(self.choices)}."


ReplyFormat = JsonFormat | PatternFormat | ChoiceFormat


def read_format(given: Any) -> ReplyFormat | None:
    """A `response_format` in OpenAI's form, or with the types "regex" and "choice".

    None where any text will do; raises ModelError for what has no known form.
    """
    if given is None or isinstance(given, (JsonFormat, PatternFormat, ChoiceFormat)):
        return given
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind == "text":
        return None
    found = _READERS[kind](given) if kind in _READERS else None
    if found is None:
        raise ModelError(f"{_FORMS}{given!r}")
    return found


def _any_object(_: Mapping[str, Any]) -> ReplyFormat | None:
    return JsonFormat({"type": "object"})


def _schema(given: Mapping[str, Any]) -> ReplyFormat | None:
    inner = given.get("json_schema", given)
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    return JsonFormat(dict(schema)) if isinstance(schema, Mapping) else None


def _pattern(given: Mapping[str, Any]) -> ReplyFormat | None:
    pattern = given.get("pattern")
    return PatternFormat(pattern) if isinstance(pattern, str) and pattern else None


def _choices(given: Mapping[str, Any]) -> ReplyFormat | None:
    choices = given.get("choices")
    if not isinstance(choices, (list, tuple)) or not choices:
        return None
    good = all(isinstance(choice, str) and choice for choice in choices)
    return ChoiceFormat(tuple(choices)) if good else None


_READERS = {
    "json_object": _any_object,
    "json_schema": _schema,
    "regex": _pattern,
    "choice": _choices,
}
