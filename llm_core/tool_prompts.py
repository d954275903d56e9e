"""The prompts that show tools: in the words of a template that knows them, in ours otherwise."""

from collections.abc import Sequence
from typing import Any

from llm_core.prompt import ChatTemplate, Turn
from llm_core.tokenizer import TextTokenizer
from llm_core.toolcalls import ToolSpec, call_prefix, call_turns, offer_turns


def offer_prompt(
    template: ChatTemplate, turns: Sequence[Turn], tools: Sequence[ToolSpec]
) -> list[int]:
    """The conversation with tools on offer: a call or a plain answer may follow."""
    if template.knows_tools:
        return template.encode(turns, [_openai(tool) for tool in tools])
    return template.encode(offer_turns(turns, tools))


def call_prompt(
    template: ChatTemplate, tokenizer: TextTokenizer, turns: Sequence[Turn], tool: ToolSpec
) -> list[int]:
    """The conversation and the start of a call of `tool`, up to the blank before its arguments."""
    if template.knows_tools:
        return template.encode_call(turns, [_openai(tool)], tool.name)
    return template.encode(call_turns(turns, tool)) + tokenizer.encode(call_prefix(tool))


def _openai(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}
