"""A server on a free port of this machine, in a thread, for clients that speak real HTTP."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from llm_core.server.connections import Connection


@contextmanager
def serving(app: ASGIApp, http: type[Connection] = Connection) -> Iterator[str]:
    """The address of a server that runs `app` while the block lasts."""
    config = uvicorn.Config(
        app, port=0, http=http, log_level="warning", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended before it had started"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
