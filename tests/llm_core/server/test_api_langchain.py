"""langchain-openai as a client of the server."""

from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field, SecretStr

from llm_core.server.models import Models

QUESTION = "Where was the carbuncle hidden?"


class Place(BaseModel):
    """Where something is."""

    thing: str = Field(max_length=12)
    inside: bool


@tool
def search_notes(words: str) -> str:
    """Search the notes for words."""
    return f"Nothing about {words}."


@pytest.fixture
def chat(address: str) -> ChatOpenAI:
    key = SecretStr("none")
    url = f"{address}/v1"
    # Of a server that is not OpenAI's it asks for usage in streams only when told to.
    return ChatOpenAI(base_url=url, api_key=key, model="tiny", max_retries=0, stream_usage=True)


def test_it_answers_with_usage_and_finish_reason(chat: ChatOpenAI):
    reply = chat.invoke(QUESTION, max_tokens=9)
    assert reply.text and reply.response_metadata["finish_reason"] in ("length", "stop")
    assert reply.usage_metadata is not None and 0 < reply.usage_metadata["output_tokens"] <= 9


async def test_it_streams_the_same_text(chat: ChatOpenAI):
    whole = await chat.ainvoke(QUESTION, max_tokens=12)
    chunks = [chunk async for chunk in chat.astream(QUESTION, max_tokens=12)]
    assert "".join(chunk.text for chunk in chunks) == whole.text and len(chunks) > 3
    usages = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert usages == [whole.usage_metadata]


def test_it_calls_tools_and_takes_their_results_back(chat: ChatOpenAI):
    bound = chat.bind_tools([search_notes], tool_choice="any")
    asked: list[Any] = [HumanMessage(QUESTION)]
    reply = bound.invoke(asked)
    assert isinstance(reply, AIMessage) and [call["name"] for call in reply.tool_calls] == [
        "search_notes"
    ]
    result = search_notes.invoke(reply.tool_calls[0])
    assert isinstance(result, ToolMessage)
    assert chat.invoke([*asked, reply, result], max_tokens=5).text


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_has_its_class(chat: ChatOpenAI, method: Any):
    assert isinstance(chat.with_structured_output(Place, method=method).invoke(QUESTION), Place)


def test_it_embeds_texts_as_they_are(address: str, models: Models):
    embeddings = OpenAIEmbeddings(
        base_url=f"{address}/v1",
        api_key=SecretStr("none"),
        model="tiny-bert",
        check_embedding_ctx_length=False,  # else it would send token ids of another model
    )
    texts = ["the goose", "a stone"]
    expected = models.embedder("tiny-bert").embeddings.embed_array(texts)
    assert np.allclose(embeddings.embed_documents(texts), expected, atol=1e-6)
