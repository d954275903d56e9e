"""Chat completions, as the official client asks for them."""

import json
from typing import Any

import openai
import pytest

HELLO: list[Any] = [{"role": "user", "content": "Where was the carbuncle hidden?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}


def test_a_reply_has_text_finish_reason_and_usage(client: openai.OpenAI):
    made = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=8)
    choice = made.choices[0]
    assert choice.message.content and choice.message.role == "assistant"
    assert choice.finish_reason == "length" and made.model == "tiny"
    assert made.usage is not None and made.usage.completion_tokens == 8
    assert made.usage.total_tokens == made.usage.prompt_tokens + 8


def test_a_stream_is_the_same_reply_in_pieces(client: openai.OpenAI):
    whole = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=20)
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=HELLO,
            max_completion_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *pieces, last, accounts = chunks
    assert pieces[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
    assert text == whole.choices[0].message.content and len(pieces) > 2
    assert last.choices[0].finish_reason == whole.choices[0].finish_reason
    assert accounts.choices == [] and accounts.usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_forced_call_comes_with_arguments_of_its_schema(client: openai.OpenAI):
    made = client.chat.completions.create(
        model="tiny", messages=HELLO, tools=[WEATHER], tool_choice="required"
    )
    (call,) = made.choices[0].message.tool_calls or ()
    assert made.choices[0].finish_reason == "tool_calls"
    assert call.type == "function" and call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError, match="there are: tiny") as raised:
        client.chat.completions.create(model="gpt-5", messages=HELLO)
    assert raised.value.code == "model_not_found" and raised.value.param == "model"
