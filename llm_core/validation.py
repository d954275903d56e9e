"""Whether a value satisfies a JSON schema: the last word, after any grammar."""

import re
from typing import TYPE_CHECKING, Any

from llm_core.grammars import SchemaError
from llm_core.string_formats import format_checker

if TYPE_CHECKING:
    from jsonschema import ValidationError


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
    and for a pattern that is none.
    """
    from jsonschema.validators import validator_for
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # no types
    from referencing.exceptions import Unresolvable

    # The registry holds the drafts themselves; without one the library would fetch.
    checker = validator_for(schema)
    validator = checker(schema, format_checker=format_checker(), registry=REGISTRY)
    try:
        return next(iter(validator.iter_errors(value)), None)
    except Unresolvable as problem:
        raise SchemaError(
            f"the schema refers to {problem.ref!r}, which it does not hold; put that under $defs"
        ) from problem
    except re.error as problem:
        raise SchemaError(
            f"the schema has the pattern {problem.pattern!r}, which is none: {problem}"
        ) from problem
