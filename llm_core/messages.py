"""LangChain messages as turns of plain text."""

import json
from collections.abc import Iterator, Mapping, Sequence
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
    return [turn for message in messages for turn in _turns(message)]


def _turns(message: BaseMessage) -> Iterator[Turn]:
    """One turn; before it, those of the results that a person's message brings along."""
    rest = message.content
    if isinstance(message, HumanMessage) and isinstance(rest, list):
        results = [b for b in rest if isinstance(b, dict) and b.get("type") == "tool_result"]
        for block in results:
            status = "error" if block.get("is_error") else "success"
            text = content_text(block.get("content") or "")
            yield _result(text, status, str(block.get("tool_use_id") or ""))
        rest = [block for block in rest if block not in results]
        if results and not rest:
            return
    yield _turn(message, content_text(rest))


def _turn(message: BaseMessage, text: str) -> Turn:
    if isinstance(message, SystemMessage):
        return Turn("system", text)
    if isinstance(message, HumanMessage):
        return Turn("user", text)
    if isinstance(message, AIMessage):
        calls = tuple(
            Call(call["name"], _plain(call["args"]), call["id"] or "")
            for call in message.tool_calls
        )
        said = [call_text(call.name, call.arguments) for call in calls]
        in_words = "\n".join(filter(None, [text, *said]))
        return Turn("assistant", in_words, content=text, calls=calls)
    if isinstance(message, ToolMessage):
        return _result(text, message.status, message.tool_call_id, message.name or "")
    if isinstance(message, ChatMessage) and message.role in _ROLES:
        return Turn(_ROLES[message.role], text)
    raise ModelError(f"a message of type {message.type!r} cannot be read by a local chat model")


def _result(text: str, status: str, call_id: str, name: str = "") -> Turn:
    failed = status == "error"
    subject = f"The function {name}" if name else "The function"
    return Turn(
        "user",
        f"{subject} {'failed' if failed else 'returned'}: {text}",
        from_tool=True,
        content=f"Error: {text}" if failed else text,
        tool=name,
        call_id=call_id,
        failed=failed,
    )


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


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """A tool call as the model writes it."""
    return json.dumps({"name": name, "arguments": dict(arguments)}, ensure_ascii=False)


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as JSON holds them; a program that wrote them may have given dates or paths."""
    plain: dict[str, Any] = json.loads(json.dumps(arguments, default=str))
    return plain


def _block_text(block: dict[Any, Any]) -> str:
    kind = block.get("type")
    if kind == "text" or (kind is None and "text" in block):
        return str(block["text"])
    if kind in _REPEATED:
        return ""
    raise ModelError(f"a content block of type {kind!r} cannot be read: this model reads text only")
