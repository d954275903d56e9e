"""Requests that cannot be served: each gets a 4xx with a reason, in OpenAI's shape."""

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from llm_core.server import chat
from llm_core.server.app import create_app
from llm_core.server.gate import Gate
from llm_core.server.models import Models
from llm_core.server.settings import ServerSettings
from tests.llm_core.server.test_api_chat import HELLO, WEATHER

URL = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 8}


def schema(value: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}
    return {"response_format": form}


def tool(parameters: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]}


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [*HELLO, fields]}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"properties": {"a": value}}
    return value


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"model": ""}, "model", "at least 1 character"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": "hello"}, "messages", "valid list"),
        ({"temprature": 1}, "temprature", "not known here"),
        ({"temperature": -0.1}, "temperature", "greater than or equal to 0"),
        ({"temperature": "1"}, "temperature", "valid number"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": 10**30}, "max_tokens", "less than or equal"),
        ({"max_tokens": 4000}, "messages", "window is 2048"),
        ({"n": 2}, "n", "Input should be 1"),
        ({"seed": 2**63}, "seed", "less than"),
        ({"stop": ""}, "stop", "at least 1 character"),
        ({"presence_penalty": 0.5}, "presence_penalty", "frequency_penalty"),
        ({"top_logprobs": 2}, None, "needs logprobs: true"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "less than or equal to 20"),
        ({"stream_options": {"include_usage": True}, "stream": False}, None, "needs stream: true"),
        ({"functions": [{}]}, None, "use tools"),
        ({"logit_bias": {"5": 1}}, None, "not supported"),
        ({"tool_choice": "required"}, None, "needs at least one tool"),
        ({"tools": [WEATHER], "tool_choice": "maybe"}, "tool_choice", "'none', 'auto'"),
        (tool({"type": "objekt"}), "tools.0.function.parameters", "objekt"),
        (tool({"$ref": "file:///etc/passwd"}), "tools.0.function.parameters", "under $defs"),
        ({"response_format": {"type": "xml"}}, "response_format", "'xml'"),
        (schema({"properties": 5}), "response_format.json_schema.schema", "$.properties"),
        (schema(nested(40)), None, "nested more than"),
        (schema({"$schema": {}}), "response_format.json_schema.schema", "$.$schema"),
        (schema({"$dynamicRef": "http://a/b"}), "response_format.json_schema.schema", "$defs"),
        ({"response_format": {"type": "regex", "pattern": "("}}, None, "cannot be compiled"),
        (message(role="user"), "messages.1.content", "Field required"),
        (message(role="robot", content="x"), "messages.1", "'robot'"),
        (message(role="user", content=[{"type": "image_url"}]), "messages.1.content.0", "text"),
        (message(role="assistant"), "messages.1", "content or tool_calls"),
        (message(role="tool", content="x", tool_call_id="9"), "messages.1.tool_call_id", "'9'"),
        (
            message(
                role="assistant",
                tool_calls=[{**CALL, "function": {"name": "f", "arguments": "[1"}}],
            ),
            "messages.1.tool_calls",
            "not a JSON object",
        ),
    ],
)
def test_a_request_that_cannot_be_served_says_why(
    http: httpx.Client, fields: dict[str, Any], param: str | None, reason: str
):
    for stream in (False, True):
        body = {**BODY, "stream": stream, **fields}
        answer = http.post(URL, json=body)
        error = answer.json()["error"]
        assert answer.status_code == 400 and error["type"] == "invalid_request_error"
        assert error["param"] == param and reason in error["message"], error


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "send a JSON object"),
        (b"{", "not valid JSON"),
        (b"[]", "send a JSON object"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "error parsing the body"),
        (b'{"model": "tiny", "temperature": NaN}', "not a number"),
        (b'{"model": "tiny", "temperature": 1e999}', "too large"),
        (b'{"model": "\\ud800"}', "half a surrogate pair"),
        (b'{"model": "tiny", "\\udfff": 1}', "half a surrogate pair"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "error parsing the body"),
    ],
)
def test_a_body_that_is_no_sound_json_is_refused(http: httpx.Client, content: bytes, reason: str):
    answer = http.post(URL, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and reason in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", URL, 405), ("DELETE", "/v1/models/tiny", 405)],
)
def test_unknown_places_answer_in_the_same_shape(
    http: httpx.Client, method: str, path: str, status: int
):
    answer = http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_budget_below_the_shortest_reply_is_refused(http: httpx.Client):
    wanted = schema({"type": "object", "properties": {"a": {}}, "required": ["a"]})
    error = http.post(URL, json={**BODY, **wanted, "max_tokens": 1}).json()["error"]
    assert error["code"] == "max_tokens_too_small" and "raise max_tokens" in error["message"]


def test_a_reply_that_breaks_its_schema_twice_is_an_error_of_the_reply(http: httpx.Client):
    never = schema({"type": "object", "properties": {"a": {"const": 1}}, "not": {}})
    answer = http.post(URL, json={**BODY, **never, "max_tokens": 40})
    error = answer.json()["error"]
    assert answer.status_code == 422 and error["code"] == "invalid_reply"
    assert error["message"].startswith("the reply does not satisfy its schema at $")
    assert "langchain" not in error["message"]


def answer_of(app: FastAPI, path: str = URL) -> httpx.Response:
    with TestClient(app, raise_server_exceptions=False) as client:
        return client.post(path, json=BODY) if path == URL else client.get(path)


async def test_a_schema_that_takes_long_to_check_keeps_nobody_waiting(app: FastAPI, monkeypatch):
    looking, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        looking.set()
        assert go_on.wait(30)

    monkeypatch.setattr(chat, "check_schema", slow)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        asking = asyncio.create_task(client.post(URL, json={**BODY, **schema({})}))
        try:
            while not looking.is_set():
                await asyncio.sleep(0.01)
            assert (await client.get("/health")).status_code == 200
        finally:
            go_on.set()
        await asking


async def test_a_full_server_says_when_to_come_back(models: Models):
    gate = Gate(slots=1, queue=0)
    transport = httpx.ASGITransport(create_app(models, gate, ServerSettings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        async with gate.enter():
            answer = await client.post(URL, json=BODY)
        assert answer.status_code == 429 and answer.json()["error"]["code"] == "queue_full"
        assert int(answer.headers["retry-after"]) >= 1
        assert (await client.post(URL, json=BODY)).status_code == 200


async def test_a_stopping_server_takes_nothing_new(models: Models):
    gate = Gate(slots=1, queue=1)
    await gate.drain(1)
    app = create_app(models, gate, ServerSettings())
    for found in (answer_of(app), answer_of(app, "/ready")):
        assert found.status_code == 503 and "shutting down" in found.json()["error"]["message"]


def test_a_model_that_cannot_be_loaded_is_unavailable():
    app = create_app(Models({"tiny": "/no/such/folder"}), Gate(1, 1), ServerSettings())
    answer = answer_of(app)
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "model_unavailable"
    assert answer_of(app, "/ready").status_code == 503


def test_an_error_of_ours_is_told_without_its_text():
    def broken(_: str) -> Any:
        raise RuntimeError("a secret")

    app = create_app(Models({"tiny": "x"}, open_chat=broken), Gate(1, 1), ServerSettings())
    answer = answer_of(app)
    assert answer.status_code == 500 and "secret" not in answer.text
    assert json.loads(answer.text)["error"]["type"] == "server_error"
