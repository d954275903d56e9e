"""Tools in any form that LangChain takes, in OpenAI's."""

from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool


def openai_tool(tool: Tool) -> dict[str, Any]:
    """A tool in OpenAI's form, with parameters that may refer to themselves.

    Raises ValueError for what is no tool.
    """
    converted = convert_to_openai_tool(tool)
    schema = _own_schema(tool)
    if refers_to_itself(schema):  # LangChain would write anything in the place of the reference
        kept = {key: value for key, value in schema.items() if key not in ("title", "description")}
        return {**converted, "function": {**converted["function"], "parameters": kept}}
    return converted


def _own_schema(tool: Tool) -> dict[str, Any]:
    model: Any = tool.tool_call_schema if isinstance(tool, BaseTool) else tool
    if isinstance(model, type) and hasattr(model, "model_json_schema"):
        return dict(model.model_json_schema())
    return {}


def refers_to_itself(schema: dict[str, Any]) -> bool:
    """Whether one of its `$defs` holds a reference to itself, directly or through others."""
    held = {name: set(_references(part)) for name, part in schema.get("$defs", {}).items()}

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            new = held.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found

    return any(name in reached(name) for name in held)


def _references(part: Any) -> Iterator[str]:
    """The names of the definitions that a schema refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rpartition("/")[2]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _references(inner)
