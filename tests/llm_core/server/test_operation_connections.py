import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from llm_core.server.connections import Connection
from tests.llm_core.server.live import serving

HEAD_S = 0.4
HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n"


class Impatient(Connection):
    head_s = HEAD_S


async def size(request: Request) -> JSONResponse:
    return JSONResponse({"size": len(await request.body())})


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Any, Any]]:
    app = Starlette(routes=[Route("/", size, methods=["POST"])])
    with serving(app, http=Impatient) as url:
        parts = urlsplit(url)
        yield parts.hostname, parts.port


def until_closed(client: socket.socket) -> bytes:
    """All that still comes; fails where the server keeps the connection."""
    client.settimeout(10)
    return b"".join(iter(lambda: client.recv(4096), b""))


@pytest.mark.parametrize("begun", [b"", b"POST / HT", HEAD])
def test_a_head_that_does_not_arrive_ends_the_connection(place, begun):
    with socket.create_connection(place) as client:
        client.sendall(begun)
        began = time.monotonic()
        assert until_closed(client) == b""
        assert time.monotonic() - began > HEAD_S / 2


def test_a_head_that_comes_drop_by_drop_ends_the_connection(place):
    with socket.create_connection(place) as client, pytest.raises(OSError):
        for _ in range(100):
            client.sendall(b"P")
            time.sleep(HEAD_S / 4)


def test_a_slow_body_and_a_kept_connection_are_no_slow_head(place):
    with socket.create_connection(place) as client:
        for _ in range(2):
            client.sendall(HEAD + b"\r\nab")
            time.sleep(2 * HEAD_S)
            client.sendall(b"c")
            answer = client.recv(4096)
            while not answer.endswith(b"}"):
                answer += client.recv(4096)
            assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"size": 3}
            time.sleep(2 * HEAD_S)
        client.sendall(HEAD)
        assert until_closed(client) == b""


def test_a_head_without_end_is_refused(place):
    with socket.create_connection(place) as client:
        client.sendall(HEAD + b"X: " + b"a" * (100 << 10))
        assert until_closed(client).startswith(b"HTTP/1.1 400 ")
