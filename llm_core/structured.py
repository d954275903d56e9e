"""Structured output: a schema in any of LangChain's forms, and replies that satisfy it.

Decoding already follows the schema. What a grammar cannot express (a custom validator,
`not`, some formats) is checked on the reply; a reply that fails is asked for once more, with
the reason, and then refused.
"""

import json
from collections.abc import Callable
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass

from llm_core.errors import ModelError, StructuredOutputError
from llm_core.messages import content_text

# Keywords that the grammar engine follows to the letter, and those that ask for nothing.
_MAPS = ("properties", "$defs", "definitions")
_HELD = {
    *_MAPS,
    *("type", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems"),
    *("enum", "const", "anyOf", "$ref", "minLength", "maxLength", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum"),
}
_NOTES = {"title", "description", "default", "examples", "$schema", "$comment", "deprecated"}
METHODS = ("function_calling", "json_schema", "json_mode")


class InvalidReplyError(StructuredOutputError, OutputParserException):
    """A reply that does not satisfy its schema, after one repair."""

    def __init__(self, reason: str, reply: str) -> None:
        super().__init__(reason)
        self.llm_output = reply


def structured_runnable(
    model: BaseChatModel, schema: Any, *, method: str, include_raw: bool, **options: Any
) -> Runnable[LanguageModelInput, Any]:
    """A runnable whose every result satisfies `schema`, or that raises InvalidReplyError."""
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown: use one of {', '.join(METHODS)}")
    if schema is None and method != "json_mode":
        raise ValueError(f"method {method!r} needs a schema")
    wanted = {"type": "object"} if schema is None else json_schema_of(schema)
    name = wanted.get("title", "reply")
    bound = model.bind(
        response_format={"type": "json_schema", "json_schema": {"name": name, "schema": wanted}},
        ls_structured_output_format={"kwargs": {"method": method}, "schema": wanted},
        **options,
    )
    return RunnableLambda(
        _asker(bound, reply_parser(schema, wanted), include_raw), name="StructuredOutput"
    )


def json_schema_of(schema: Any) -> dict[str, Any]:
    """The JSON schema of a pydantic model (2 or 1), a TypedDict or a JSON schema itself."""
    if isinstance(schema, dict) and "type" in schema and "title" not in schema:
        return dict(schema)
    return convert_to_json_schema(schema)


def reply_parser(schema: Any, wanted: dict[str, Any]) -> Callable[[str], Any]:
    """From the text of a reply to the object; raises InvalidReplyError with the reason."""
    model = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None

    def parse(text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError as err:
            raise InvalidReplyError(f"the reply is not JSON: {err}", text) from err
        if model is None:
            reason = violation(value, wanted)
            if reason is not None:
                raise InvalidReplyError(reason, text)
            return value
        try:
            return (
                model.model_validate(value) if hasattr(model, "model_validate") else model(**value)
            )
        except ValueError as err:  # both pydantic generations derive from it
            raise InvalidReplyError(
                f"the reply is not a valid {model.__name__}: {err}", text
            ) from err

    return parse


def violation(value: Any, schema: dict[str, Any]) -> str | None:
    """Why `value` does not satisfy `schema`, in one line; None when it does."""
    from jsonschema.validators import validator_for

    validator = validator_for(schema)(schema)
    error = next(iter(validator.iter_errors(value)), None)
    if error is None:
        return None
    return f"the reply does not satisfy its schema at {error.json_path}: {error.message}"


def grammar_holds(schema: Any) -> bool:
    """Whether decoding enforces all of a JSON schema, so that no reply can fail it afterwards."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or schema.keys() - _HELD - _NOTES:
        return False
    inner = [part for key in _MAPS for part in schema.get(key, {}).values()]
    inner += [part for key in ("anyOf", "prefixItems") for part in schema.get(key, ())]
    inner += [schema[key] for key in ("items", "additionalProperties") if key in schema]
    return all(grammar_holds(part) for part in inner)


def schema_hint(schema: dict[str, Any]) -> str:
    """A short line that tells the model what the grammar will ask of it."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return "Answer with one JSON object."
    fields = ", ".join(_field(name, part) for name, part in properties.items())
    return f"Answer with one JSON object with these keys: {fields}."


def _field(name: str, part: Any) -> str:
    about = part.get("description") if isinstance(part, dict) else None
    return f"{name} ({' '.join(str(about).split())})" if about else str(name)


def _asker(
    bound: Runnable[LanguageModelInput, Any], parse: Callable[[str], Any], include_raw: bool
) -> Callable[..., Any]:
    def ask(question: LanguageModelInput, config: RunnableConfig, **options: Any) -> Any:
        raw = bound.invoke(question, config, **options)
        try:
            parsed = parse(content_text(raw.content))
        except InvalidReplyError as error:
            raw = bound.invoke(_again(question, raw, error), config, **options)
            try:
                parsed = parse(content_text(raw.content))
            except InvalidReplyError as final:
                if not include_raw:
                    raise
                return {"raw": raw, "parsed": None, "parsing_error": final}
        return {"raw": raw, "parsed": parsed, "parsing_error": None} if include_raw else parsed

    return ask


def _again(
    question: LanguageModelInput, raw: BaseMessage, error: InvalidReplyError
) -> list[BaseMessage]:
    """The conversation with the failed reply and the reason it failed."""
    reason = " ".join(str(error).split())[:400]
    request = HumanMessage(f"That reply is not valid: {reason}. Answer again, correctly.")
    return [*as_messages(question), raw, request]


def as_messages(question: LanguageModelInput) -> list[BaseMessage]:
    """The messages of anything that a chat model accepts as input."""
    from langchain_core.messages import convert_to_messages
    from langchain_core.prompt_values import PromptValue

    if isinstance(question, PromptValue):
        return question.to_messages()
    if isinstance(question, str):
        return [HumanMessage(question)]
    return convert_to_messages(question)


def schema_of_format(response_format: Any) -> dict[str, Any]:
    """The JSON schema that a `response_format` asks for; raises ModelError for other forms."""
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "json_object":
        return {"type": "object"}
    if kind == "json_schema":
        inner = response_format.get("json_schema", response_format)
        if isinstance(inner.get("schema"), dict):
            return dict(inner["schema"])
    raise ModelError(
        'response_format must be {"type": "json_object"} or {"type": "json_schema", '
        f'"json_schema": {{"schema": ...}}}}, not {response_format!r}'
    )
