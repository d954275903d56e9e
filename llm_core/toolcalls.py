"""Tools as the model sees them: descriptions in the prompt, arguments under the grammar."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_core.errors import ModelError
from llm_core.prompt import Turn
from llm_core.prompt_format import (
    CALL_PREFIX,
    COPY_VALUES,
    HOW_TO_CALL,
    NO_CALL_MANY,
    NO_CALL_ONE,
    OFFER_MANY,
    OFFER_ONE,
)
from llm_core.structured import definition_of

AUTO, ANY, NONE = "auto", "any", "none"


@dataclass(frozen=True)
class ToolSpec:
    """One function the model may call; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any] = field(hash=False)

    @classmethod
    def of(cls, tool: Mapping[str, Any]) -> "ToolSpec":
        """From OpenAI's form of a tool; raises ModelError for what has none."""
        function = tool.get("function", tool) if isinstance(tool, Mapping) else tool
        if not isinstance(function, Mapping) or "name" not in function:
            raise ModelError(f"a tool needs a name, in OpenAI's form, not {tool!r}")
        parameters = _parameters(function.get("parameters") or {})
        return cls(str(function["name"]), str(function.get("description") or ""), parameters)

    @property
    def takes_an_object(self) -> bool:
        """Whether the parameters are what calls can be made by: the schema of an object."""
        schema = self.parameters
        named = isinstance(schema.get("properties"), Mapping)
        required = isinstance(schema.get("required", []), (list, tuple))
        return schema.get("type") == "object" and named and required

    def summary(self) -> str:
        """Name and purpose in one line of plain words."""
        words = self.name.replace("_", " ").replace(".", " ")
        return f"{words}: {' '.join(self.description.split())}".rstrip(": ")

    def line(self) -> str:
        """The summary and the names of the parameters, for comparing with requests."""
        names = ", ".join(name.replace("_", " ") for name in self.parameters.get("properties", ()))
        return f"{self.summary()} ({names})" if names else self.summary()

    def signature(self) -> str:
        """The tool as JSON, for the prompt."""
        shown = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }
        return json.dumps(shown, ensure_ascii=False)


def _parameters(schema: Any) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, with `type` and `properties`."""
    if not isinstance(schema, Mapping):
        return {"type": None, "properties": {}}
    kept = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    followed = {**definition_of(schema), **kept}
    parameters = {key: value for key, value in followed.items() if value is not None}
    parameters.setdefault("type", "object")
    parameters.setdefault("properties", {})
    return parameters


def tools_of(tools: Any) -> tuple[ToolSpec, ...]:
    """The tools of one call, of which a later one of the same name is never called.

    Raises ModelError for what is no tool.
    """
    if not isinstance(tools, (list, tuple)):
        raise ModelError(f"tools must be a list, not {tools!r}")
    specs = tuple(ToolSpec.of(tool) for tool in tools)
    for spec in specs:
        if not spec.takes_an_object:
            raise ModelError(
                f"the parameters of the tool {spec.name!r} must be the JSON schema of an object"
            )
    return specs


def tool_choice_of(choice: Any, tools: Sequence[ToolSpec]) -> str:
    """ "auto", "any", "none" or the name of a tool, from any form that LangChain passes.

    Raises ModelError for other forms, and for a tool that is not on offer.
    """
    if isinstance(choice, Mapping):
        inner = choice.get("function", choice)
        named = inner.get("name") if isinstance(inner, Mapping) else None
        choice = choice.get("type", choice) if named is None else named
    if choice is None or choice == AUTO:
        return AUTO
    if choice is False or choice == NONE:
        return NONE
    if choice is True or choice in (ANY, "required"):
        if not tools:
            raise ModelError(f"tool_choice={choice!r} needs at least one tool")
        return ANY
    if choice not in [tool.name for tool in tools]:
        names = ", ".join(tool.name for tool in tools) or "none"
        raise ModelError(f"tool_choice names {choice!r}, but the tools are: {names}")
    return str(choice)


def offer_turns(turns: Sequence[Turn], tools: Sequence[ToolSpec]) -> list[Turn]:
    """The conversation with the tools on offer: a call or a plain answer may follow."""
    many = len(tools) != 1
    listed = "\n".join(tool.signature() for tool in tools)
    offer = f"{OFFER_MANY if many else OFFER_ONE}\n{listed}\n\n"
    how = HOW_TO_CALL.format(it="one" if many else "it")
    otherwise = NO_CALL_MANY if many else NO_CALL_ONE
    return [Turn("system", f"{offer}{how} {COPY_VALUES} {otherwise}"), *turns]


def call_turns(turns: Sequence[Turn], tool: ToolSpec) -> list[Turn]:
    """The conversation with one tool, which is called or not under the same prompt."""
    return offer_turns(turns, [tool])


def call_prefix(tool: ToolSpec) -> str:
    """How a call of `tool` begins, up to its arguments."""
    return CALL_PREFIX.format(name=json.dumps(tool.name, ensure_ascii=False))
