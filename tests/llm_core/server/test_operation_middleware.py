import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from llm_core.server.logs import LOGGER, JsonLines, record_of
from llm_core.server.metrics import Metrics
from llm_core.server.middleware import guard
from llm_core.server.settings import ServerSettings

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"
SECRET = "what the person asked"


async def echo(request: Request) -> JSONResponse:
    record = record_of(request.scope)
    record.finished("tiny", 3, 4, "stop")
    return JSONResponse({"id": record.id, "size": len(await request.body())})


async def failing(request: Request) -> JSONResponse:
    raise KeyError(SECRET)


async def stream(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        if request.query_params:
            raise KeyError(SECRET)
        yield b"two"

    return StreamingResponse(pieces())


async def health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


ROUTES = [
    Route("/echo/{name}", echo, methods=["POST"]),
    Route("/failing", failing),
    Route("/stream", stream),
    Route("/health", health),
]


class Site:
    """A guarded app, a client of it, and what it logged."""

    def __init__(self, **settings: Any) -> None:
        self.metrics = Metrics()
        app = guard(Starlette(routes=ROUTES), ServerSettings(**settings), self.metrics)
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")
        self.stream = io.StringIO()

    async def post(self, content: bytes = b"{}", **headers: str) -> httpx.Response:
        return await self.client.post("/echo/secret-name", content=content, headers=headers)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def site(monkeypatch) -> "Callable[..., Site]":
    logger = logging.getLogger(LOGGER)
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(logger, "handlers", [])
    logger.manager._clear_cache()

    def make(**settings: Any) -> Site:
        made = Site(**settings)
        handler = logging.StreamHandler(made.stream)
        handler.setFormatter(JsonLines())
        logger.handlers.append(handler)
        return made

    return make


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_request_has_one_id_in_answer_handler_and_log(site):
    open_site = site()
    answer = await open_site.post()
    (line,) = open_site.lines()
    assert answer.headers["x-request-id"] == answer.json()["id"] == line["id"]
    wanted = {"method": "POST", "route": "/echo/{name}", "status": 200, "model": "tiny"}
    assert wanted.items() <= line.items()
    assert line["prompt_tokens"] == 3 and line["finish_reason"] == "stop"
    assert (await open_site.post()).headers["x-request-id"] != line["id"]


async def test_a_plain_id_of_the_client_is_kept_and_another_replaced(site):
    open_site = site()
    assert (await open_site.post(**{"X-Request-Id": "a-1"})).headers["x-request-id"] == "a-1"
    for odd in ("a b", "x" * 65, 'quote"'):
        answer = await open_site.post(**{"X-Request-Id": odd})
        assert answer.headers["x-request-id"].startswith("req_")


async def test_paths_and_texts_are_never_logged(site):
    open_site = site()
    await open_site.post(SECRET.encode(), Cookie=SECRET)
    await open_site.client.get(f"/none/{SECRET}?q={SECRET}")
    await open_site.client.get("/failing")
    text = open_site.stream.getvalue()
    assert "secret-name" not in text and "asked" not in text
    assert [line["status"] for line in open_site.lines() if "status" in line] == [200, 404, 500]


async def test_an_error_of_ours_is_logged_with_its_place_and_answered(site):
    open_site = site()
    answer = await open_site.client.get("/failing")
    failure, request = open_site.lines()
    assert answer.status_code == 500
    assert failure["event"] == "failure" and failure["error"] == ["KeyError"]
    assert failure["traceback"][-1].endswith(" failing")
    assert failure["id"] == request["id"] == answer.headers["x-request-id"]


async def test_a_stream_passes_piece_by_piece_and_a_broken_one_is_noted(site):
    open_site = site()
    answer = await open_site.client.get("/stream")
    assert answer.content == b"onetwo"
    with pytest.raises(AssertionError):  # the test's transport asks for a whole answer
        await open_site.client.get("/stream?break=1")
    assert [line["status"] for line in open_site.lines() if "status" in line] == [200, 500]


async def test_without_the_right_token_only_health_is_told(site):
    closed = site(tokens=(TOKEN, OTHER))
    for headers in ({}, bearer("wrong"), {"Authorization": TOKEN}):
        answer = await closed.post(**headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert (await closed.client.get("/metrics", headers=headers)).status_code == 401
    assert (await closed.client.get("/health")).status_code == 200
    assert (await closed.client.get("/health/")).status_code == 401
    for token in (TOKEN, OTHER):
        assert (await closed.post(**bearer(token))).status_code == 200
    owners = {line.get("token") for line in closed.lines()} - {None}
    assert len(owners) == 2 and TOKEN not in closed.stream.getvalue()


async def test_the_rate_counts_for_each_token_alone(site):
    closed = site(tokens=(TOKEN, OTHER), rate=0.1, burst=2)
    statuses = [(await closed.post(**bearer(TOKEN))).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    answer = await closed.post(**bearer(TOKEN))
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert 9000 <= int(answer.headers["retry-after-ms"]) <= 10000
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert (await closed.post(**bearer(OTHER))).status_code == 200
    assert (await closed.client.get("/metrics", headers=bearer(TOKEN))).status_code == 200


async def test_a_request_that_is_too_large_is_refused_before_it_is_read(site):
    open_site = site(max_body=1024)
    assert (await open_site.post(b"x" * 1024)).json()["size"] == 1024
    answer = await open_site.post(b"x" * 1025)
    assert answer.status_code == 413 and "1024 bytes" in answer.json()["error"]["message"]

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 400

    answer = await open_site.client.post("/echo/a", content=chunks())
    assert answer.status_code == 413


async def test_a_request_that_does_not_arrive_is_given_up(site):
    open_site = site(timeout=0.05)

    async def never() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(30)

    answer = await open_site.client.post("/echo/a", content=never())
    assert answer.status_code == 408 and "0.05 s" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Host": "[x]:80"}, 403),
    ],
)
async def test_without_tokens_pages_of_other_sites_are_refused(site, headers, status):
    assert (await site().post(**headers)).status_code == status
    closed = site(tokens=(TOKEN,))
    assert (await closed.post(**headers, **bearer(TOKEN))).status_code == 200


@pytest.mark.parametrize("name", ["Host", "Origin"])
async def test_a_second_host_or_origin_hides_none(site, name):
    headers = [(name, "http://localhost" if name == "Origin" else "localhost")] * 2
    assert (await site().client.post("/echo/a", headers=headers)).status_code == 200
    headers[1] = (name, "http://evil.example" if name == "Origin" else "evil.example")
    assert (await site().client.post("/echo/a", headers=headers)).status_code == 403


async def test_metrics_count_what_was_asked_by_pattern(site):
    open_site = site()
    for _ in range(3):
        await open_site.post()
    await open_site.client.get(f"/{SECRET}")
    answer = await open_site.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    wanted = 'deerstalker_requests_total{method="POST",route="/echo/{name}",status="200"} 3.0'
    assert wanted in answer.text
    assert 'route="other",status="404"} 1.0' in answer.text and "asked" not in answer.text


async def test_web_sockets_reach_no_app():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pytest.fail("nothing should arrive")

    guarded = guard(app, ServerSettings(), Metrics())

    async def nothing(*_: Any) -> Any:
        return {}

    await guarded({"type": "websocket", "headers": []}, nothing, nothing)
