import json
import logging
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from llm_core.engine import Engine
from llm_core.reply import Replier
from llm_core.server.app import create_app
from llm_core.server.gate import Gate
from llm_core.server.logs import LOGGER
from llm_core.server.metrics import Metrics
from llm_core.server.middleware import guard
from llm_core.server.models import Models
from llm_core.server.settings import ServerSettings
from tests.llm_core.server.live import serving

PACE = 0.1  # seconds for a token


class SlowServer:
    """One slot, no queue, and a model that takes its time for each pass."""

    def __init__(self, folder: Path) -> None:
        engine = Engine(folder, threads=1)
        quick = engine.backend.forward
        self.passes = 0

        def forward(*args: object, **kwargs: object) -> object:
            time.sleep(PACE)
            self.passes += 1
            return quick(*args, **kwargs)

        engine.backend.forward = forward
        models = Models({"slow": "slow"}, open_chat=lambda _: Replier(engine))
        models.load("slow")
        self.gate = Gate(slots=1, queue=0)
        settings = ServerSettings()
        self.app = guard(create_app(models, self.gate, settings), settings, Metrics())


@pytest.fixture(scope="module")
def slow(tiny_folder: Path) -> SlowServer:
    return SlowServer(tiny_folder)


@pytest.fixture(scope="module")
def address(slow: SlowServer) -> Iterator[str]:
    with serving(slow.app) as url:
        yield url


@pytest.mark.parametrize("stream", [True, False])
def test_a_killed_client_frees_its_slot_within_one_token(slow, address, stream, caplog):
    """The pass in work ends, and no other begins."""
    caplog.set_level(logging.INFO, LOGGER)
    asked = {
        "model": "slow",
        "messages": [{"role": "user", "content": "Where was the goose?"}],
        "max_tokens": 200,
        "stream": stream,
        "response_format": {"type": "regex", "pattern": "[a-z]{150}"},
    }
    parts, body = urlsplit(address), json.dumps(asked).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    began = slow.passes
    with socket.create_connection((parts.hostname, parts.port)) as client:
        client.sendall(head.encode() + body)
        while slow.passes < began + 4:
            time.sleep(PACE / 20)
        assert slow.gate.inside == 1
        assert httpx.post(f"{address}/v1/chat/completions", json=asked).status_code == 429
        # As the system does for a process that was killed: no farewell, a reset.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        killed, at = slow.passes, time.monotonic()
    while slow.gate.inside:
        assert time.monotonic() < at + 20
        time.sleep(PACE / 20)
    assert slow.passes <= killed + 1
    while not (ended := [line for line in _lines(caplog) if line.get("status") == 499]):
        assert time.monotonic() < at + 20
        time.sleep(PACE / 20)
    assert len(ended) == 1
    assert "failure" not in caplog.messages
    small = {**asked, "max_tokens": 2, "response_format": None, "stream": False}
    assert httpx.post(f"{address}/v1/chat/completions", json=small).status_code == 200


def _lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The fields of what the server logged."""
    return [getattr(record, "fields", {}) for record in caplog.records]
