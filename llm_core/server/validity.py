"""Whether a JSON schema that a client sent may be used."""

from collections.abc import Iterator
from typing import Any

from llm_core.server.errors import RequestError

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def check_schema(schema: dict[str, Any], param: str) -> None:
    """Raise RequestError unless `schema` is a JSON schema that stands for itself.

    One that refers to another document would have the server fetch that.
    """
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(schema.get("$schema", ""), str):
        raise RequestError("no JSON schema at $.$schema: it must be a text", param)
    for place in _references(schema):
        if not place.startswith("#"):
            raise RequestError(f"the schema refers to {place!r}; put that under $defs", param)
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise RequestError(f"no JSON schema at {error.json_path}: {error.message}", param) from None


def _references(node: Any) -> Iterator[str]:
    waiting = [node]
    while waiting:
        at = waiting.pop()
        if isinstance(at, dict):
            for name in _REFERENCES:
                if isinstance(at.get(name), str):
                    yield at[name]
            waiting += at.values()
        elif isinstance(at, list):
            waiting += at
