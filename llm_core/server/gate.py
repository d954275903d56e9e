"""How many requests work at once, how many may wait, and what the others are told.

Needs nothing but asyncio, and belongs to one event loop: no method blocks.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from llm_core.errors import ModelError
from llm_core.server.promises import Promises

_LONGEST = 60.0  # seconds; clients of the OpenAI API ignore a longer Retry-After
_GRACE = 2.0  # seconds that one may be late: clients round up what they are told
_FIRST_GUESS = 0.2  # seconds that a slot is held; who comes back too early loses nothing
_WEIGHT = 0.1  # at least, of the newest request in the mean time that a slot is held


class QueueFullError(ModelError):
    """No slot is free and the queue is full; `retry_after` is in seconds."""

    def __init__(self, retry_after: float, waiting: int) -> None:
        super().__init__(
            f"the server is busy: {waiting} requests wait; try again in {retry_after:.1f} s"
        )
        self.retry_after = retry_after


class DrainingError(ModelError):
    """The server is about to stop and takes nothing new."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down; send the request to another one")


class Gate:
    """`slots` requests at once, and up to `queue` more that wait, first come first served.

    A request that finds the queue full is told when to come back. Each is given a later time
    than the one before, at the pace at which slots come free, so that those who were turned
    away do not all return at once. Room is kept for those who are about to return, and `slots`
    of them may wait beyond the queue: otherwise whoever asks again as soon as he is served
    would keep them out for good.
    """

    def __init__(self, slots: int, queue: int) -> None:
        if slots < 1 or queue < 0:
            raise ValueError(f"a gate needs a slot and no negative queue, not {slots} and {queue}")
        self.slots = slots
        self.queue = queue
        self._inside = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._held = _FIRST_GUESS  # mean seconds that a slot is held
        self._ended = 0  # requests that have held one
        self._promises = Promises()

    @property
    def inside(self) -> int:
        """How many requests hold a slot."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return len(self._line)

    @property
    def draining(self) -> bool:
        """Whether nothing new is taken."""
        return self._draining

    @asynccontextmanager
    async def enter(self, who: Hashable | None = None) -> AsyncIterator[None]:
        """Hold a slot inside the block, after those who came first.

        `who` is what a client that comes again is known by. Raises QueueFullError or
        DrainingError, both at once.
        """
        await self._take(who)
        began = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            held = asyncio.get_running_loop().time() - began
            self._ended += 1
            self._promises.served(who)
            self._held += max(_WEIGHT, 1 / self._ended) * (held - self._held)
            self._pass_on()

    async def drain(self, timeout: float) -> bool:
        """Take nothing new; True once all are done that hold a slot or wait for one.

        False where that takes longer than `timeout` seconds.
        """
        self._draining = True
        try:
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def _take(self, who: Hashable | None) -> None:
        if self._draining:
            raise DrainingError
        self._empty.clear()
        if self._inside < self.slots:
            self._inside += 1
            return
        now = asyncio.get_running_loop().time()
        self._promises.forget(now - _GRACE - self._pace())
        returns = self._promises.keep(now, who)
        room = self.queue - len(self._line)
        # Those who will return before all who wait now have been let in.
        expected = self._promises.expected(now + (len(self._line) + 1) * self._pace())
        if room <= (-min(self.slots, self.queue) if returns else expected):
            raise QueueFullError(self._retry_after(now, who, first=returns), len(self._line))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # the slot came at the same moment
            else:
                self._line.remove(turn)
            raise

    def _pass_on(self) -> None:
        """Give a slot that was held to who waits longest, or back."""
        if self._line:
            self._line.popleft().set_result(None)
            return
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    def _pace(self) -> float:
        """Seconds from one slot that comes free to the next."""
        return self._held / self.slots

    def _retry_after(self, now: float, who: Hashable | None, *, first: bool) -> float:
        """Seconds until there should be room behind all who were sent away, or before them."""
        last = now if first else self._promises.last or now
        wait = max(last, now) + self._pace() - now
        if wait > _LONGEST:  # no more room in the plan: anywhere in its later half
            return random.uniform(_LONGEST / 2, _LONGEST)
        self._promises.add(now + wait, who)
        return wait
