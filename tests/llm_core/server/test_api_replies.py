"""What a request may ask of a reply: form, stops, seeds, probabilities, and tools."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.llm_core.server.test_api_chat import HELLO, WEATHER

PERSON: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "schema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 12},
                "age": {"type": "integer", "minimum": 0, "maximum": 120},
            },
            "required": ["name", "age"],
        },
        "strict": True,
    },
}


def ask(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 40, **fields}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["choices"][0]
    return found


def text(http: httpx.Client, **fields: Any) -> str:
    return str(ask(http, **fields)["message"]["content"])


def test_a_json_schema_is_kept(client: openai.OpenAI):
    made = client.chat.completions.create(model="tiny", messages=HELLO, response_format=PERSON)
    person = json.loads(made.choices[0].message.content or "")
    assert person.keys() == {"name", "age"} and 0 <= person["age"] <= 120


def test_a_json_schema_is_kept_in_a_stream(client: openai.OpenAI):
    chunks = client.chat.completions.create(
        model="tiny", messages=HELLO, response_format=PERSON, stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert json.loads("".join(pieces)).keys() == {"name", "age"} and len(pieces) > 3


def test_any_json_object_a_pattern_and_choices_are_kept(http: httpx.Client):
    assert isinstance(json.loads(text(http, response_format={"type": "json_object"})), dict)
    assert text(http, response_format={"type": "regex", "pattern": "[0-9]{3}"}).isdecimal()
    choices = {"type": "choice", "choices": ["goose", "carbuncle"]}
    assert text(http, response_format=choices) in choices["choices"]


def test_a_stop_text_ends_the_reply_and_is_left_out(http: httpx.Client):
    whole = text(http)
    stop = whole[5:9]
    assert text(http, stop=stop) == whole[: whole.index(stop)]
    assert text(http, stop=["\ue000", stop]) == whole[: whole.index(stop)]


def test_a_seed_repeats_a_reply_and_another_changes_it(http: httpx.Client):
    first = text(http, temperature=1.5, seed=1)
    assert text(http, temperature=1.5, seed=1) == first
    assert text(http, temperature=1.5, seed=-2) != first


def test_probabilities_come_for_each_token_and_add_up_to_its_text(client: openai.OpenAI):
    made = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=12, logprobs=True, top_logprobs=3
    )
    choice = made.choices[0]
    assert choice.logprobs is not None and choice.logprobs.content is not None
    entries = choice.logprobs.content
    written = b"".join(bytes(entry.bytes or ()) for entry in entries)
    assert written.decode(errors="replace") == choice.message.content
    for entry in entries:
        assert entry.logprob <= 0 and len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].logprob == entry.logprob  # the likeliest was taken


def test_streamed_probabilities_are_those_of_the_whole_reply(http: httpx.Client):
    asked = {"logprobs": True, "top_logprobs": 2, "max_tokens": 12}
    whole = ask(http, **asked)["logprobs"]["content"]
    body = {"model": "tiny", "messages": HELLO, "stream": True, **asked}
    lines = http.post("/v1/chat/completions", json=body).text.split("\n\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    found = [event["choices"][0]["logprobs"] for event in events]
    assert [token for entry in found if entry for token in entry["content"]] == whole


def test_a_call_streams_its_name_first_and_then_its_arguments(client: openai.OpenAI):
    asked: Any = {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {}}}
    asked["tool_choice"]["function"]["name"] = "get_weather"
    chunks = client.chat.completions.create(model="tiny", messages=HELLO, stream=True, **asked)
    deltas = [chunk.choices[0] for chunk in chunks]
    calls = [call for choice in deltas for call in choice.delta.tool_calls or ()]
    assert calls[0].id and calls[0].function and calls[0].function.name == "get_weather"
    assert all(call.index == 0 and call.id is None for call in calls[1:])
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert "city" in json.loads(arguments) and len(calls) > 2
    assert deltas[-1].finish_reason == "tool_calls"


def test_a_call_and_its_result_may_be_sent_back(http: httpx.Client):
    call = ask(http, tools=[WEATHER], tool_choice="required")["message"]
    result = {
        "role": "tool",
        "tool_call_id": call["tool_calls"][0]["id"],
        "content": [{"type": "text", "text": "Rain"}],
    }
    history = [*HELLO, call, result]
    assert text(http, messages=history, tools=[WEATHER], tool_choice="none")
    dry = [*HELLO, call, {**result, "content": "Sun", "name": "get_weather"}]
    assert text(http, messages=dry, tools=[WEATHER], tool_choice="none") != text(
        http, messages=history, tools=[WEATHER], tool_choice="none"
    )


@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_change_the_reply(http: httpx.Client, role: str):
    assert text(http, messages=[{"role": role, "content": "Be brief."}, *HELLO]) != text(http)
