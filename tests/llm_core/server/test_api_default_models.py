"""The default models behind the server."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openai
import pytest

from llm_core import LocalChatModel
from llm_core.server.app import create_app
from llm_core.server.gate import Gate
from llm_core.server.models import Models
from llm_core.server.settings import ServerSettings
from tests.llm_core.server.live import serving

pytestmark = pytest.mark.model

CHAT, VECTORS = "smollm2-135m", "minilm-l6"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city."}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def default() -> Iterator[openai.OpenAI]:
    models = Models({CHAT: CHAT}, {VECTORS: VECTORS})
    app = create_app(models, Gate(slots=4, queue=16), ServerSettings())
    with serving(app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client


def asking(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_the_reply_is_that_of_the_chat_model(default: openai.OpenAI, chat_model: LocalChatModel):
    text = "Where was the blue carbuncle hidden?"
    made = default.chat.completions.create(model=CHAT, messages=asking(text), max_tokens=24)
    expected = chat_model.invoke(text, max_tokens=24)
    assert made.choices[0].message.content == expected.text and expected.usage_metadata
    assert made.usage and made.usage.prompt_tokens == expected.usage_metadata["input_tokens"]


def test_a_request_for_a_tool_calls_it_and_a_greeting_does_not(default: openai.OpenAI):
    asked: Any = {"model": CHAT, "tools": [WEATHER], "max_tokens": 40}
    wanted = asking("What is the weather in Lisbon right now?")
    made = default.chat.completions.create(messages=wanted, **asked).choices[0]
    (call,) = made.message.tool_calls or ()
    assert call.type == "function" and json.loads(call.function.arguments) == {"city": "Lisbon"}
    greeted = default.chat.completions.create(messages=asking("Hello!"), **asked).choices[0]
    assert not greeted.message.tool_calls and greeted.message.content


def test_many_clients_at_once_get_the_reply_that_each_gets_alone(default: openai.OpenAI):
    def ask(text: str) -> str | None:
        made = default.chat.completions.create(model=CHAT, messages=asking(text), max_tokens=8)
        return made.choices[0].message.content

    texts = [f"Count from {n}." for n in range(6)]
    alone = [ask(text) for text in texts]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, texts)) == alone


def test_vectors_put_meaning_before_words(default: openai.OpenAI):
    texts = ["Where was the gem hidden?", "The jewel was in the goose.", "Stocks fell on Monday."]
    rows = [entry.embedding for entry in default.embeddings.create(model=VECTORS, input=texts).data]
    question, answer, other = np.array(rows)
    assert question @ answer > question @ other + 0.1
