"""A lock that is fair: callers get it in the order in which they came.

A plain lock lets a thread that just gave it back take it again before a waiting one wakes,
so of several replies being written one would run ahead and the others stand still.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_POLL = 0.05  # seconds between two looks at `cancel` while waiting


class Turns:
    """A first-come, first-served lock; not reentrant."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    @contextmanager
    def hold(self, cancel: threading.Event | None = None) -> Iterator[bool]:
        """Wait for a turn; False, without a turn, where `cancel` was set before it came."""
        mine = self._take(cancel)
        try:
            yield mine
        finally:
            if mine:
                self._give()

    def waiting(self) -> int:
        """How many callers wait at this moment."""
        return len(self._waiting)

    def _take(self, cancel: threading.Event | None) -> bool:
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            ticket = threading.Lock()
            ticket.acquire()
            self._waiting.append(ticket)
        came = False
        try:
            while not came and not (cancel is not None and cancel.is_set()):
                came = ticket.acquire(timeout=-1 if cancel is None else _POLL)
        finally:
            if not came:  # cancelled, or interrupted by an exception such as Ctrl-C
                self._leave(ticket)
        return came

    def _leave(self, ticket: threading.Lock) -> None:
        with self._guard:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                return
        self._give()  # the turn came at the last moment: pass it on

    def _give(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()  # the lock stays taken, by the next in line
            else:
                self._taken = False
