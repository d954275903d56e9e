"""LangChain messages as turns of plain text."""

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.prompt_values import PromptValue

from llm_core.errors import ModelError
from llm_core.prompt import Call, Role, Turn

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
}
# Blocks whose content a message also holds elsewhere, or that need not be read again.
_REPEATED = {"tool_use", "tool_call", "tool_call_chunk", "reasoning", "thinking"}


def to_turns(messages: Sequence[BaseMessage]) -> list[Turn]:
    """The conversation as text; raises ModelError for what a text model cannot read."""
    return [_turn(message) for message in messages]


def _turn(message: BaseMessage) -> Turn:
    text = content_text(message.content)
    if isinstance(message, SystemMessage):
        return Turn("system", text)
    if isinstance(message, HumanMessage):
        return Turn("user", text)
    if isinstance(message, AIMessage):
        said = [call_text(call["name"], call["args"]) for call in message.tool_calls]
        calls = tuple(Call(c["name"], c["args"], c["id"] or "") for c in message.tool_calls)
        in_words = "\n".join(filter(None, [text, *said]))
        return Turn("assistant", in_words, content=text, calls=calls)
    if isinstance(message, ToolMessage):
        verb = "failed" if message.status == "error" else "returned"
        name = f" {message.name}" if message.name else ""
        return Turn(
            "user",
            f"The function{name} {verb}: {text}",
            from_tool=True,
            content=f"Error: {text}" if verb == "failed" else text,
            tool=message.name or "",
            call_id=message.tool_call_id,
        )
    if isinstance(message, ChatMessage) and message.role in _ROLES:
        return Turn(_ROLES[message.role], text)
    raise ModelError(f"a message of type {message.type!r} cannot be read by a local chat model")


def as_messages(question: LanguageModelInput) -> list[BaseMessage]:
    """The messages of anything that a chat model accepts as input."""
    if isinstance(question, PromptValue):
        return question.to_messages()
    if isinstance(question, str):
        return [HumanMessage(question)]
    return convert_to_messages(question)


def content_text(content: str | Sequence[str | dict[Any, Any]]) -> str:
    """The text of a message's content blocks."""
    if isinstance(content, str):
        return content
    return "".join(block if isinstance(block, str) else _block_text(block) for block in content)


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """A tool call as the model writes it."""
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def _block_text(block: dict[Any, Any]) -> str:
    kind = block.get("type")
    if kind == "text" or (kind is None and "text" in block):
        return str(block["text"])
    if kind in _REPEATED:
        return ""
    raise ModelError(f"a content block of type {kind!r} cannot be read: this model reads text only")
