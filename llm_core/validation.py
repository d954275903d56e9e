"""Whether a value satisfies a JSON schema: the last word, after any grammar."""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any

import regex

from llm_core.grammars import SchemaError
from llm_core.string_formats import format_checker

if TYPE_CHECKING:
    from jsonschema import ValidationError

_PATTERN_S = 1.0  # for one pattern on one text: some patterns would take for ever, and hold the GIL


def violation(value: Any, schema: dict[str, Any]) -> str | None:
    """Why `value` does not satisfy `schema`, in one line; None when it does.

    Raises SchemaError, as `failing` does.
    """
    error = failing(value, schema)
    if error is None:
        return None
    return f"the reply does not satisfy its schema at {error.json_path}: {error.message}"


def failing(value: Any, schema: dict[str, Any]) -> "ValidationError | None":
    """The first fault that is found with `value`; None where it satisfies `schema`.

    Formats count. Nothing is fetched: raises SchemaError for a reference to another document,
    for a pattern that is none, and for one that takes too long.
    """
    from jsonschema.validators import validator_for
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # no types
    from referencing.exceptions import Unresolvable

    # The registry holds the drafts themselves; without one the library would fetch.
    checker = _patient(validator_for(schema))
    validator = checker(schema, format_checker=format_checker(), registry=REGISTRY)
    try:
        return next(iter(validator.iter_errors(value)), None)
    except Unresolvable as problem:
        raise SchemaError(
            f"the schema refers to {problem.ref!r}, which it does not hold; put that under $defs"
        ) from problem
    except TimeoutError:
        raise SchemaError(
            f"a pattern of the schema takes more than {_PATTERN_S:g} s to check; write one that "
            "does not repeat what itself repeats"
        ) from None
    except re.error as problem:
        raise SchemaError(
            f"the schema has the pattern {problem.pattern!r}, which is none: {problem}"
        ) from problem


@cache
def _patient(checker: Any) -> Any:
    """The validator class with patterns that are given up after a while."""
    from jsonschema.validators import extend

    own: dict[str, Any] = {"pattern": _pattern, "patternProperties": _pattern_properties}
    own |= {"multipleOf": _multiple_of, "additionalProperties": _additional(checker)}
    return extend(checker, own)  # type: ignore[no-untyped-call]  # its stubs lack types


def _found(pattern: str, text: str) -> bool:
    try:
        return regex.search(pattern, text, timeout=_PATTERN_S, concurrent=True) is not None
    except regex.error as problem:
        raise SchemaError(
            f"the schema has the pattern {pattern!r}, which is none: {problem}"
        ) from problem


def _pattern(validator: Any, pattern: str, value: Any, _: Any) -> "Iterator[ValidationError]":
    from jsonschema import ValidationError

    if validator.is_type(value, "string") and not _found(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _multiple_of(validator: Any, step: Any, value: Any, _: Any) -> "Iterator[ValidationError]":
    """In decimal digits as written: in binary ones 0.47 is no multiple of 0.01."""
    from jsonschema import ValidationError

    if not validator.is_type(value, "number"):
        return
    try:
        failed = not isfinite(value) or Fraction(str(value)) % Fraction(str(step)) != 0
    except (ValueError, ZeroDivisionError):
        raise SchemaError(f"the schema has multipleOf {step!r}; give a number above 0") from None
    if failed:
        yield ValidationError(f"{value!r} is not a multiple of {step}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], value: Any, _: Any
) -> "Iterator[ValidationError]":
    if not validator.is_type(value, "object"):
        return
    for pattern, schema in patterns.items():
        for key, part in value.items():
            if _found(pattern, key):
                yield from validator.descend(part, schema, path=key, schema_path=pattern)


def _additional(checker: Any) -> Any:
    """`additionalProperties` after the patterns were tried in time."""
    plain = checker.VALIDATORS.get("additionalProperties")

    def check(validator: Any, rule: Any, value: Any, schema: Any) -> "Iterator[ValidationError]":
        patterns = schema.get("patternProperties", {})
        if validator.is_type(value, "object") and patterns:
            known = schema.get("properties", {})
            kept = {
                key: part
                for key, part in value.items()
                if key in known or not any(_found(pattern, key) for pattern in patterns)
            }
            schema = {key: part for key, part in schema.items() if key != "patternProperties"}
            value = kept
        yield from plain(validator, rule, value, schema)

    return check
