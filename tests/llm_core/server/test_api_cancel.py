"""Clients that hang up, in the queue or in the middle of a reply, and requests that take long."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.types import Message

from llm_core.errors import ModelError
from llm_core.server.app import create_app
from llm_core.server.errors import ClientGoneError, RequestTimeoutError
from llm_core.server.gate import Gate
from llm_core.server.models import Models
from llm_core.server.settings import ServerSettings
from llm_core.server.stream import Events, Workshop
from tests.llm_core.server.live import serving
from tests.llm_core.server.test_api_chat import HELLO

LONG = {"model": "tiny", "messages": HELLO, "max_tokens": 1500, "temperature": 2.0, "seed": 1}

HTTP = {"type": "http"}


class Client:
    """The receiving side of a request whose client hangs up when told to."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}


class Work:
    """A reply of endless tokens, written one at a time when the test lets it."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.go = threading.Semaphore(0)
        self.written = 0
        self.ended = threading.Event()

    def tokens(self) -> Iterator[dict[str, Any]]:
        try:
            while not self.cancel.is_set():
                assert self.go.acquire(timeout=20)
                self.written += 1
                yield {"token": self.written}
        finally:
            self.ended.set()

    def whole(self) -> list[dict[str, Any]]:
        return list(self.tokens())


@pytest.fixture
async def workshop() -> AsyncIterator[Workshop]:
    with ThreadPoolExecutor(1) as pool:
        yield Workshop(Gate(slots=1, queue=1), pool, timeout=30.0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_client_that_hangs_up_frees_its_slot_within_one_token(workshop: Workshop):
    client, work = Client(), Work()
    answer = asyncio.create_task(workshop.answer(HTTP, client.receive, work.whole, work.cancel))
    work.go.release(3)
    await until(lambda: work.written == 3)
    client.gone.set()
    with pytest.raises(ClientGoneError):
        await answer
    await until(work.cancel.is_set)
    assert workshop.gate.inside == 1  # the thread still holds it, in the middle of a token
    work.go.release()
    await until(lambda: workshop.gate.inside == 0)
    assert work.ended.is_set() and work.written == 4


async def test_a_client_that_hangs_up_leaves_the_queue(workshop: Workshop):
    first, second = Work(), Work()
    staying, leaving = Client(), Client()
    one = asyncio.create_task(workshop.answer(HTTP, staying.receive, first.whole, first.cancel))
    two = asyncio.create_task(workshop.answer(HTTP, leaving.receive, second.whole, second.cancel))
    await until(lambda: workshop.gate.waiting == 1)
    leaving.gone.set()
    with pytest.raises(ClientGoneError):
        await two
    await until(lambda: workshop.gate.waiting == 0)
    assert second.written == 0 and workshop.gate.inside == 1
    first.cancel.set()
    first.go.release()
    assert await one == [{"token": 1}]


async def test_a_stream_that_nobody_reads_any_more_ends(workshop: Workshop):
    client, work = Client(), Work()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    stream = Events(workshop, work.tokens, work.cancel)
    answer = asyncio.create_task(stream({"type": "http"}, client.receive, send))
    work.go.release(2)
    await until(lambda: len(sent) == 3)  # the head, and two events
    client.gone.set()
    await answer
    await until(work.cancel.is_set)
    work.go.release()
    await until(lambda: workshop.gate.inside == 0)
    assert work.written == 3 and [message["type"] for message in sent[:1]] == [
        "http.response.start"
    ]


async def test_a_slot_is_free_when_the_reply_is_written_though_its_reader_is_slow(
    workshop: Workshop,
):
    reading = asyncio.Event()

    async def send(_: Message) -> None:
        await reading.wait()

    stream = Events(workshop, lambda: iter([{"n": 1}, {"n": 2}]), threading.Event())
    answer = asyncio.create_task(stream({"type": "http"}, Client().receive, send))
    await until(lambda: workshop.gate.inside == 0)
    assert not answer.done()
    reading.set()
    await answer


async def test_a_request_that_takes_too_long_is_told_so_and_ends():
    work = Work()
    with ThreadPoolExecutor(1) as pool:
        hasty = Workshop(Gate(slots=1, queue=1), pool, timeout=0.05)
        waiting = asyncio.create_task(hasty.run(work.whole, work.cancel))
        await until(work.cancel.is_set)
        work.go.release()
        with pytest.raises(RequestTimeoutError, match=r"longer than 0\.05 s"):
            await waiting
        assert hasty.gate.inside == 0


async def test_an_error_in_the_middle_of_a_stream_is_told_in_an_event(workshop: Workshop):
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    def tokens() -> Iterator[dict[str, Any]]:
        yield {"n": 1}
        raise ModelError("the goose flew")

    await Events(workshop, tokens, threading.Event())({"type": "http"}, Client().receive, send)
    text = b"".join(sent).decode()
    assert text.startswith('data: {"n":1}\n\ndata: {"error":') and "the goose flew" in text
    assert "[DONE]" not in text


def test_a_killed_client_of_the_real_server_frees_its_slot(models: Models):
    gate = Gate(slots=1, queue=0)
    with serving(create_app(models, gate, ServerSettings())) as url:
        with httpx.stream("POST", f"{url}/v1/chat/completions", json={**LONG, "stream": True}) as s:
            next(s.iter_lines())
            assert gate.inside == 1
        body = {**LONG, "max_tokens": 2}
        for _ in range(200):  # the slot is free as soon as the server has seen it
            answer = httpx.post(f"{url}/v1/chat/completions", json=body)
            if answer.status_code == 200:
                break
            assert answer.status_code == 429
        assert answer.status_code == 200
