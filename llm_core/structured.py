"""Schemas in any of LangChain's forms, and the objects that replies to them are.

Decoding already follows the schema. What a grammar cannot express (a custom validator,
`not`, some formats) is checked on the reply.
"""

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.pydantic import is_basemodel_subclass

from llm_core.decimals import schema_of_numbers
from llm_core.errors import StructuredOutputError
from llm_core.tool_forms import refers_to_itself
from llm_core.validation import violation

# Keywords that the grammar engine follows to the letter, some of them only without others
# beside them, and those that ask for nothing.
_MAPS = ("properties", "$defs", "definitions")
_HELD = {
    *("type", "properties", "required", "additionalProperties"),
    *("items", "prefixItems", "minItems", "maxItems", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
_ALONE = {"enum", "const", "anyOf", "$ref"}
_FUNCTION = {"function", "name", "input_schema", "toolSpec"}  # keys that no JSON schema has
_NOTES = {"title", "description", "default", "examples", "$schema", "$comment", "deprecated"}

__all__ = [
    "InvalidReplyError",
    "ReplyParser",
    "definition_of",
    "grammar_holds",
    "json_schema_of",
    "repair_request",
    "schema_hint",
    "violation",
]


class InvalidReplyError(StructuredOutputError, OutputParserException):
    """A reply that does not satisfy its schema, after one repair."""

    def __init__(self, reason: str, reply: str) -> None:
        super().__init__(reason)
        self.args = (reason,)  # without the links that LangChain's class adds
        self.reply = self.llm_output = reply


def json_schema_of(schema: Any) -> dict[str, Any]:
    """The JSON schema of a pydantic model (2 or 1), a TypedDict or a JSON schema itself.

    A function in OpenAI's or Anthropic's form stands for its parameters. Raises ValueError
    for anything else.
    """
    if isinstance(schema, dict) and not _FUNCTION & schema.keys():
        return dict(schema)
    if isinstance(schema, type) and hasattr(schema, "model_json_schema"):
        own = dict(schema.model_json_schema())
        if refers_to_itself(own):  # LangChain's form of it ends there
            return own
        if (numbers := schema_of_numbers(schema)) is not None:
            return convert_to_json_schema(numbers)
    return convert_to_json_schema(schema)


class ReplyParser:
    """From the text of a reply to the object that `schema` describes.

    `wanted` is the JSON schema of the same.
    """

    def __init__(self, schema: Any, wanted: dict[str, Any]) -> None:
        self._wanted = wanted
        pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
        self._model: Any = schema if pydantic else None

    def whole(self, text: str) -> Any:
        """The object of a whole reply; raises InvalidReplyError with the reason."""
        try:
            value = json.loads(text)
        except ValueError as err:
            raise InvalidReplyError(f"the reply is not JSON: {err}", text) from err
        if self._model is not None:
            try:
                return self._built(value)
            except ValueError as err:  # both pydantic generations derive from it
                raise InvalidReplyError(_faults(self._model, err), text) from err
        fault = violation(value, self._wanted)
        if fault is not None:
            raise InvalidReplyError(fault, text)
        return value

    def part(self, text: str) -> Any:
        """The object as far as a reply's beginning tells it; None where it tells nothing.

        Of a pydantic model only valid objects are made, so it may come late, or never.
        """
        try:
            value = parse_partial_json(text)
        except ValueError:
            return None
        if self._model is None:
            return value
        try:
            return self._built(value)
        except Exception:  # a validator may count on what is not written yet
            return None

    def _built(self, value: Any) -> Any:
        model = self._model
        return model.model_validate(value) if hasattr(model, "model_validate") else model(**value)


def _faults(model: type, error: ValueError) -> str:
    """What a pydantic model finds wrong, in one line."""
    found = error.errors() if hasattr(error, "errors") else []
    told = [
        ": ".join(filter(None, [".".join(map(str, fault["loc"])), str(fault["msg"])]))
        for fault in found
    ]
    return f"the reply is not a valid {model.__name__}: {'; '.join(told) or error}"


def grammar_holds(schema: Any) -> bool:
    """Whether decoding enforces all of a JSON schema, so that no reply can fail it afterwards."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict):
        return False
    keys = schema.keys() - _NOTES - {"$defs", "definitions"}
    alone = keys & _ALONE
    if not keys <= _HELD | _ALONE or (alone and len(keys - {"type"}) > 1):
        return False
    inner = [part for key in _MAPS for part in schema.get(key, {}).values()]
    inner += [part for key in ("anyOf", "prefixItems") for part in schema.get(key, ())]
    inner += [schema[key] for key in ("items", "additionalProperties") if key in schema]
    return all(grammar_holds(part) for part in inner)


def schema_hint(schema: dict[str, Any]) -> str:
    """A short line that tells the model what the grammar will ask of it."""
    properties = definition_of(schema).get("properties")
    if not isinstance(properties, dict) or not properties:
        return "Answer with one JSON object."
    fields = ", ".join(_field(name, part) for name, part in properties.items())
    return f"Answer with one JSON object with these keys: {fields}."


def definition_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition that a schema is nothing but a reference to; other schemas unchanged."""
    if schema.keys() - _NOTES - {"$ref", "$defs", "definitions"}:
        return schema
    kind, _, name = str(schema.get("$ref", "")).removeprefix("#/").partition("/")
    held = schema.get(kind) if kind in ("$defs", "definitions") else None
    found = held.get(name) if isinstance(held, Mapping) else None
    return found if isinstance(found, Mapping) else schema


def repair_request(reason: str) -> str:
    """What is said to the model about a reply that is not valid."""
    return f"That reply is not valid: {' '.join(reason.split())[:400]}. Answer again, correctly."


def _field(name: str, part: Any) -> str:
    about = part.get("description") if isinstance(part, dict) else None
    return f"{name} ({' '.join(str(about).split())})" if about else str(name)
