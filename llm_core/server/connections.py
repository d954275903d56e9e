"""One connection of a client: bounded in what its requests' heads take, memory and time."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 20.0


class Connection(H11Protocol):
    """Closes where the head of a request does not arrive within `head_s` seconds.

    Without that, connections that say nothing, or a byte a minute, would use up the open files
    of the process. uvicorn's other protocol (httptools) reads a head of any length into memory,
    before any token is looked at; this one refuses more than 64 KiB.
    """

    head_s = HEAD_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as the base class
        """Wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on; the time runs while a head has begun and is not whole."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._rest()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Be ready for the next request, of which a part may be here."""
        super().on_response_complete()
        begun: Any = self.conn.trailing_data[0]
        if begun and self.conn.their_state is h11.IDLE:
            self._wait()

    def _wait(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_s, self.transport.close)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
