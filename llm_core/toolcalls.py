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

AUTO, ANY, NONE = "auto", "any", "none"


@dataclass(frozen=True)
class ToolSpec:
    """One function the model may call; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any] = field(hash=False)

    @classmethod
    def of(cls, tool: Mapping[str, Any]) -> "ToolSpec":
        """From OpenAI's form of a tool."""
        function = tool.get("function", tool)
        if not isinstance(function, Mapping) or "name" not in function:
            raise ModelError(f"a tool needs a name: {tool!r}")
        parameters = dict(function.get("parameters") or {})
        parameters.setdefault("type", "object")
        parameters.setdefault("properties", {})
        return cls(str(function["name"]), str(function.get("description") or ""), parameters)

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


def tool_choice_of(choice: Any, tools: Sequence[ToolSpec]) -> str:
    """ "auto", "any", "none" or the name of a tool, from any form that LangChain passes."""
    if choice is None or choice == AUTO:
        return AUTO
    if choice is False or choice == NONE:
        return NONE
    if choice is True or choice in (ANY, "required"):
        if not tools:
            raise ModelError(f"tool_choice={choice!r} needs at least one tool")
        return ANY
    if isinstance(choice, Mapping):
        choice = choice.get("function", choice).get("name")
    if choice not in {tool.name for tool in tools}:
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
