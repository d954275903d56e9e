"""Work in threads for clients that may hang up: whole answers, and server-sent events.

A reply is written by one thread while its request holds a slot of the gate. A client that
hangs up, waits too long or is cut off sets the reply's `cancel`, on which the thread ends
within one token; the slot comes free when the thread has ended, and not before.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llm_core.errors import ModelError
from llm_core.server.errors import ClientGoneError, RequestTimeoutError, describe, internal
from llm_core.server.gate import Gate

T = TypeVar("T")
_END = None  # what follows the last event in a pipe


@dataclass(frozen=True)
class Workshop:
    """Where work is done: the gate's slots, a thread for each, and the longest it may take."""

    gate: Gate
    pool: Executor
    timeout: float  # seconds, the wait for a slot included

    async def run(
        self, work: Callable[[], T], cancel: threading.Event, who: Hashable | None = None
    ) -> T:
        """Do `work` in a thread while holding a slot, which `who` waits for.

        When the waiting task is cancelled, `cancel` is set and the slot kept until the thread
        has ended. Raises QueueFullError, DrainingError, and RequestTimeoutError.
        """
        try:
            async with asyncio.timeout(self.timeout), self.gate.enter(who):
                loop = asyncio.get_running_loop()
                return await _ended(loop.run_in_executor(self.pool, work), cancel)
        except TimeoutError:
            raise RequestTimeoutError(
                f"the request took longer than {self.timeout:g} s; ask for less at once"
            ) from None

    async def answer(
        self, scope: Scope, receive: Receive, work: Callable[[], T], cancel: threading.Event
    ) -> T:
        """`run`, ended when the client hangs up; raises ClientGoneError then."""
        return await while_connected(receive, self.run(work, cancel, connection(scope)))


def connection(scope: Scope) -> Hashable | None:
    """What a client is known by while its connection lives: its address and port."""
    client = scope.get("client")
    return None if client is None else tuple(client)


async def _ended(future: "asyncio.Future[T]", cancel: threading.Event) -> T:
    """The thread's result; a cancellation is passed on to it, and takes effect at its end."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        cancel.set()
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # seen; the cancellation outweighs it
        raise


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up.

    The body of the request must have been read. Raises ClientGoneError.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_hung_up(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    finally:
        watching.cancel()
        working.cancel()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Events(Response):
    """Server-sent events of JSON objects that a thread makes, then `[DONE]`.

    The status waits for the first event, so that whatever fails before it is answered with a
    status of its own; what fails later is told in an event.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        workshop: Workshop,
        make: Callable[[], Iterator[dict[str, Any]]],
        cancel: threading.Event,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._workshop = workshop
        self._make = make
        self._cancel = cancel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client hangs up."""
        with contextlib.suppress(ClientGoneError):
            await while_connected(receive, self._send(send, connection(scope)))

    async def _send(self, send: Send, who: Hashable | None) -> None:
        started = False
        try:
            async with contextlib.aclosing(self._events(who)) as events:
                async for event in events:
                    if not started:
                        started = True
                        head = {"status": self.status_code, "headers": self.raw_headers}
                        await send({"type": "http.response.start", **head})
                    await _send_data(send, _as_json(event))
        except ModelError as error:
            if not started:
                raise
            await _send_data(send, describe(error)[1].model_dump_json())
        except Exception:
            if started:
                await _send_data(send, internal().model_dump_json())
            raise
        else:
            await _send_data(send, "[DONE]")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self, who: Hashable | None) -> AsyncGenerator[dict[str, Any], None]:
        loop = asyncio.get_running_loop()
        pipe: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

        def pump() -> None:
            for event in self._make():
                loop.call_soon_threadsafe(pipe.put_nowait, event)

        task = asyncio.create_task(self._workshop.run(pump, self._cancel, who))
        task.add_done_callback(lambda _: pipe.put_nowait(_END))
        try:
            while (event := await pipe.get()) is not _END:
                yield event
            task.result()
        finally:
            task.cancel()


def _as_json(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


async def _send_data(send: Send, data: str) -> None:
    body = f"data: {data}\n\n".encode("utf-8", "replace")
    await send({"type": "http.response.body", "body": body, "more_body": True})
