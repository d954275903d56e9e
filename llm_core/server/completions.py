"""Replies in the shape of OpenAI's chat completions, whole and in chunks."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel

from llm_core.parts import ArgumentsPart, CallPart, Part, TextPart, TokenLogprob, Usage

Finish = Literal["stop", "length", "tool_calls"]
_LOWEST = -9999.0  # OpenAI's number for a token that is all but impossible


class CompletionUsage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopLogprob(BaseModel):
    """One of the most probable tokens at a place."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenEntry(TopLogprob):
    """A token of the reply, with its natural-log probability."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(BaseModel):
    """The probabilities of a reply's tokens."""

    content: list[TokenEntry]
    refusal: None = None


class FunctionCall(BaseModel):
    """A function and the JSON text of its arguments."""

    name: str
    arguments: str


class MadeCall(BaseModel):
    """A call of a tool."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ReplyMessage(BaseModel):
    """The reply."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[MadeCall] | None = None


class Choice(BaseModel):
    """The one reply; `stop_reason` is "repetition" for free text that had become a loop."""

    index: Literal[0] = 0
    message: ReplyMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: Finish
    stop_reason: str | None = None


class ChatCompletion(BaseModel):
    """A whole reply."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage


class Completion:
    """One reply under way: its name, and its parts in OpenAI's shape."""

    def __init__(self, model: str, *, logprobs: bool = False) -> None:
        self.id = f"chatcmpl-{uuid4().hex}"
        self.created = int(time.time())
        self.model = model
        self._logprobs = logprobs

    def whole(self, parts: Iterable[Part], finish: str, usage: Usage) -> ChatCompletion:
        """The reply in one piece."""
        texts: list[str] = []
        entries: list[TokenLogprob] = []
        calls: dict[int, MadeCall] = {}
        for part in parts:
            if isinstance(part, TextPart):
                texts.append(part.text)
                entries += part.logprobs
            elif isinstance(part, CallPart):
                function = FunctionCall(name=part.name, arguments="")
                calls[part.index] = MadeCall(id=call_id(), function=function)
            else:
                calls[part.index].function.arguments += part.text
        text = "".join(texts)
        message = ReplyMessage(
            content=text if text or not calls else None, tool_calls=list(calls.values()) or None
        )
        choice = Choice(
            message=message,
            logprobs=_logprobs(entries) if self._logprobs and not calls else None,
            **_ending(finish),
        )
        return ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=[choice],
            usage=usage_of(usage),
        )

    def first(self) -> dict[str, Any]:
        """The chunk that says who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, part: Part) -> dict[str, Any]:
        """The chunk of one part."""
        if isinstance(part, TextPart):
            logprobs = _logprobs(part.logprobs).model_dump() if self._logprobs else None
            return self._chunk({"content": part.text}, logprobs)
        call: dict[str, Any] = {"index": part.index}
        if isinstance(part, ArgumentsPart):
            call["function"] = {"arguments": part.text}
        else:
            call |= {"id": call_id(), "type": "function"}
            call["function"] = {"name": part.name, "arguments": ""}
        return self._chunk({"tool_calls": [call]})

    def last(self, finish: str) -> dict[str, Any]:
        """The chunk that says why the reply ended."""
        chunk = self._chunk({})
        chunk["choices"][0] |= _ending(finish)
        return chunk

    def accounts(self, usage: Usage) -> dict[str, Any]:
        """The chunk that says how many tokens there were."""
        return {**self._head(), "choices": [], "usage": usage_of(usage).model_dump()}

    def _chunk(self, delta: dict[str, Any], logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        return {**self._head(), "choices": [choice]}

    def _head(self) -> dict[str, Any]:
        kind = "chat.completion.chunk"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage_of(usage: Usage) -> CompletionUsage:
    """Counts of tokens as OpenAI names them."""
    total = usage.prompt + usage.reply
    return CompletionUsage(
        prompt_tokens=usage.prompt, completion_tokens=usage.reply, total_tokens=total
    )


def call_id() -> str:
    """A new name for a call."""
    return f"call_{uuid4().hex[:24]}"


def _ending(finish: str) -> dict[str, Any]:
    if finish == "repetition":
        return {"finish_reason": "stop", "stop_reason": finish}
    return {"finish_reason": finish, "stop_reason": None}


def _logprobs(entries: Sequence[TokenLogprob]) -> ChoiceLogprobs:
    return ChoiceLogprobs(content=[_entry(entry) for entry in entries])


def _entry(entry: TokenLogprob) -> TokenEntry:
    top = [_top(piece, logprob) for piece, logprob in entry.top]
    return TokenEntry(**_top(entry.piece, entry.logprob).model_dump(), top_logprobs=top)


def _top(piece: bytes, logprob: float) -> TopLogprob:
    text = piece.decode("utf-8", "replace")
    return TopLogprob(token=text, logprob=max(logprob, _LOWEST), bytes=list(piece))
