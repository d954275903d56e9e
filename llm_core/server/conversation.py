"""OpenAI's messages as turns of plain text, by way of the messages that the chat model reads."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from langchain_core import messages as lc

from llm_core.messages import to_turns
from llm_core.prompt import Turn
from llm_core.server import schemas
from llm_core.server.errors import RequestError


def conversation(messages: Sequence[schemas.Message]) -> list[Turn]:
    """The turns of a request; raises RequestError for calls that are not JSON or not known."""
    return to_turns(list(_messages(messages)))


def _messages(messages: Sequence[schemas.Message]) -> Iterator[lc.BaseMessage]:
    names: dict[str, str] = {}  # of the functions called, by the calls' ids
    for number, message in enumerate(messages):
        match message:
            case schemas.SystemMessage():
                yield lc.SystemMessage(_text(message.content))
            case schemas.UserMessage():
                yield lc.HumanMessage(_text(message.content))
            case schemas.AssistantMessage():
                calls = [_call(call, number) for call in message.tool_calls or ()]
                names |= {call.id: call.function.name for call in message.tool_calls or ()}
                text = _text(message.content) or message.refusal or ""
                yield lc.AIMessage(text, tool_calls=calls)
            case schemas.ToolMessage():
                if message.tool_call_id not in names:
                    raise RequestError(
                        f"no earlier message has a call with the id {message.tool_call_id!r}",
                        f"messages.{number}.tool_call_id",
                    )
                yield lc.ToolMessage(
                    _text(message.content),
                    tool_call_id=message.tool_call_id,
                    name=names[message.tool_call_id],
                )
            case _:
                assert_never(message)


def _call(call: schemas.ToolCall, number: int) -> lc.ToolCall:
    try:
        arguments: Any = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise RequestError(
            f"the arguments of the call {call.id!r} are not a JSON object",
            f"messages.{number}.tool_calls",
        )
    return lc.ToolCall(name=call.function.name, args=arguments, id=call.id)


def _text(
    content: str | Sequence[schemas.TextContent | schemas.RefusalContent] | None,
) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(
        part.text if isinstance(part, schemas.TextContent) else part.refusal for part in content
    )
