"""One server process: listens, announces itself, and lets the requests in work end at its end."""

import asyncio
import ipaddress
import logging
import math
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from llm_core.errors import ModelError
from llm_core.server.app import create_app
from llm_core.server.connections import Connection
from llm_core.server.gate import Gate
from llm_core.server.logs import log, logging_to_stderr
from llm_core.server.metrics import Metrics
from llm_core.server.middleware import guard
from llm_core.server.models import Models
from llm_core.server.settings import ServerSettings

_BACKLOG = 2048  # connections that the system holds until they are looked at
_KEEP_S = 20  # for an idle connection; longer than clients keep one, who might just use it
_INTERRUPTED = 130  # exit code after Ctrl-C


def run(
    models: Models,
    settings: ServerSettings,
    metrics: Metrics,
    prepare: Callable[[], None],
    *,
    quiet: bool = False,
) -> int:
    """Serve until SIGTERM or Ctrl-C; returns the exit code of the process.

    `prepare` loads what must be in memory; who connects meanwhile waits. Raises ModelError
    where the address cannot be listened on, and what `prepare` raises.
    """
    level = logging.WARNING if quiet else logging.INFO
    with logging_to_stderr(level), listening(settings.host, settings.port) as found:
        prepare()
        gate = Gate(settings.slots, settings.queue)
        metrics.gauge("deerstalker_slots_busy", "Requests in work.", lambda: gate.inside)
        metrics.gauge("deerstalker_slots", "Requests worked on at once.", lambda: gate.slots)
        metrics.gauge("deerstalker_queue_waiting", "Requests that wait.", lambda: gate.waiting)
        app = guard(create_app(models, gate, settings), settings, metrics)
        config = uvicorn.Config(
            app,
            http=Connection,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_S,
        )
        server = Server(config, gate, settings.drain_s, address(found))
        server.run(sockets=[found])
    return _INTERRUPTED if server.stopped_by == signal.SIGINT else 0


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises ModelError where that cannot be."""
    name = host.strip("[]") or None
    try:
        places = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name such as localhost may stand for two addresses; most clients try this one.
        family, _, _, _, where = min(places, key=lambda place: place[0] != socket.AF_INET)
        return socket.create_server(where[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(
            f"cannot listen on {host}:{port}: {reason}; choose another --host or --port"
        ) from None


def address(found: socket.socket) -> str:
    """The URL under which this machine reaches a listening socket."""
    host, port = found.getsockname()[:2]
    at = ipaddress.ip_address(host)
    if at.is_unspecified:
        at = ipaddress.ip_address("127.0.0.1" if at.version == 4 else "::1")
    return f"http://[{at}]:{port}" if at.version == 6 else f"http://{at}:{port}"


class Server(uvicorn.Server):
    """Announces its URL; the first signal lets the requests in work end, the second ends all."""

    def __init__(self, config: uvicorn.Config, gate: Gate, drain_s: float, url: str) -> None:
        super().__init__(config)
        self.stopped_by: int | None = None
        self._gate = gate
        self._drain_s = drain_s
        self._url = url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the URL of the API on stdout."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        log("listening", url=self._url)
        print(f"{self._url}/v1", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the base's
        """Handle a signal; the base class would not wait, and raise it once more at the end."""
        if self.stopped_by is not None or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self.stopped_by = sig
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._draining = asyncio.create_task(self._wait_for_requests())

    async def _wait_for_requests(self) -> None:
        """Take nothing new, and stop when all is answered or the time is over.

        The port stays open meanwhile: who asks is told to go elsewhere.
        """
        began = asyncio.get_running_loop().time()
        work, line = self._gate.inside, self._gate.waiting
        log("draining", in_work=work, waiting=line, seconds=self._drain_s)
        done = await self._gate.drain(self._drain_s)
        log("drained" if done else "drain timed out", logging.INFO if done else logging.WARNING)
        left = self._drain_s - (asyncio.get_running_loop().time() - began)
        self.config.timeout_graceful_shutdown = max(1, math.ceil(left))  # to send what is written
        self.should_exit = True
