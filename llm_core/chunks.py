"""The parts of a reply as the chunks that LangChain streams."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from llm_core.parts import CallPart, Part, TextPart, TokenLogprob, Usage

PROVIDER = "deerstalker"


def part_chunk(part: Part) -> ChatGenerationChunk:
    """One part; the first one of a call carries its id, text its log-probabilities."""
    if isinstance(part, TextPart):
        told = {"logprobs": openai_logprobs(part.logprobs)} if part.logprobs else {}
        message = AIMessageChunk(content=part.text, response_metadata=told)
        return ChatGenerationChunk(message=message)
    if isinstance(part, CallPart):
        call_id = f"call_{uuid4().hex[:24]}"
        call = tool_call_chunk(name=part.name, args="", id=call_id, index=part.index)
    else:
        call = tool_call_chunk(args=part.text, index=part.index)
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))


def last_chunk(model: str, finish: str, usage: Usage) -> ChatGenerationChunk:
    """The end of a reply: why it ended, and what it cost."""
    message = AIMessageChunk(
        content="",
        chunk_position="last",
        response_metadata={
            "model_name": model,
            "model_provider": PROVIDER,
            "finish_reason": finish,
        },
        usage_metadata=UsageMetadata(
            input_tokens=usage.prompt,
            output_tokens=usage.reply,
            total_tokens=usage.prompt + usage.reply,
        ),
    )
    return ChatGenerationChunk(message=message, generation_info={"finish_reason": finish})


def openai_logprobs(entries: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Log-probabilities in the shape of OpenAI's chat completions."""
    content = [
        {
            **_told(entry.piece, entry.logprob),
            "top_logprobs": [_told(piece, value) for piece, value in entry.top],
        }
        for entry in entries
    ]
    return {"content": content}


def _told(piece: bytes, logprob: float) -> dict[str, Any]:
    # A token may be part of a character: its bytes tell what its text cannot.
    return {
        "token": piece.decode("utf-8", errors="replace"),
        "bytes": list(piece),
        "logprob": logprob,
    }
