"""The words that tools and structured output are put to the model in, their version and hash.

An adapter that learnt to call tools knows these words, so they are frozen: whoever changes one
raises FORMAT_VERSION, and adapters of another format say so when they are loaded.
"""

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

FORMAT_VERSION = 1
FORMAT_KEY = "deerstalker_format"  # in an adapter's adapter_config.json

OFFER_MANY = "You can call these functions:"
OFFER_ONE = "You can call this function:"
HOW_TO_CALL = 'To call {it}, reply only with JSON: {{"name": ..., "arguments": {{...}}}}.'
COPY_VALUES = "Copy the values of the arguments from the user's words."
NO_CALL_ONE = "If the function does not fit, answer in plain text."
NO_CALL_MANY = "If no function fits, answer in plain text."
REPAIR = "The last call was not valid: {reason}"
CALL_PREFIX = '{{"name": {name}, "arguments":'
SUMMARY = "Function: {summary}\nRequest:"
NO_FUNCTION = "none."
FACT, FAILED_FACT = "{subject}: {text}", "{subject} failed: {text}"
ANSWER = "Answer in one sentence, with the facts above."
ITEM_SEPARATOR, KEY_SEPARATOR = ", ", ": "  # of JSON, as the grammars write it


def format_name() -> str:
    """Version and hash, as adapters carry them under FORMAT_KEY."""
    return f"{FORMAT_VERSION}:{format_hash()}"


@lru_cache(maxsize=1)
def format_hash() -> str:
    """A SHA-256 over the prompts and bounds of one example of everything, 16 hex digits.

    It is computed on what is really written, so that a change is seen wherever it is made.
    """
    from llm_core.limits import Bounds
    from llm_core.messages import to_turns
    from llm_core.prompt import Turn
    from llm_core.schemas import closed
    from llm_core.structured import schema_hint
    from llm_core.tool_results import with_facts
    from llm_core.toolcalls import ToolSpec, call_prefix, call_turns, offer_turns

    properties = {
        "text": {"type": "string", "description": "Some text."},
        "number": {"type": "number"},
        "count": {"type": "integer"},
        "list": {"type": "array", "items": {"type": "string"}},
    }
    schema = {"type": "object", "properties": properties, "required": ["count"]}
    tool = ToolSpec("a_tool.of_ours", "Does a thing.", schema)
    asked = [Turn("user", "Do it.")]
    written = [
        [(turn.role, turn.text) for turn in offer_turns(asked, [tool, tool])],
        [(turn.role, turn.text) for turn in call_turns(asked, tool)],
        [(turn.role, turn.text) for turn in to_turns(_history())],
        [(turn.role, turn.text) for turn in with_facts(to_turns(_history()))],
        call_prefix(tool),
        schema_hint(schema),
        closed(schema),
        repr(Bounds.of(schema)),
        [REPAIR, SUMMARY, NO_FUNCTION, ITEM_SEPARATOR, KEY_SEPARATOR],
    ]
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()[:16]


def _history() -> "list[BaseMessage]":
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    call = {"name": "a_tool", "args": {"text": "é", "number": 1.5}, "id": "1"}
    return [
        HumanMessage("Do it."),
        AIMessage("Yes.", tool_calls=[call]),
        ToolMessage("done", tool_call_id="1", name="a_tool"),
        ToolMessage("broken", tool_call_id="1", status="error"),
    ]
