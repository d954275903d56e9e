"""Who may ask, how often, and how much at once."""

import asyncio
import hashlib
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from pydantic import SecretStr
from starlette.types import Message, Receive

_BUCKETS = 10_000  # kept at most, the last used
_DISCARDED = 64 << 20  # bytes of a refused body that are still read, so that the answer arrives
_PATIENCE = 10.0  # seconds for that


class BodyTooLargeError(Exception):
    """A request's body is over the limit; it is read no further."""


class ClientLeftError(Exception):
    """The client hung up while it sent its request."""


class Keyring:
    """The bearer tokens that open the server; without any, everybody may come in."""

    def __init__(self, tokens: Iterable[SecretStr]) -> None:
        self._digests = [_digest(token.get_secret_value().encode()) for token in tokens]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def owner(self, authorization: bytes) -> str | None:
        """A short name for the token of an Authorization header, None where it opens nothing.

        The name is the beginning of the token's SHA-256. All tokens are compared, in a time
        that does not depend on how much of one was guessed.
        """
        scheme, _, token = authorization.partition(b" ")
        given = _digest(token.strip())
        fits = [hmac.compare_digest(given, digest) for digest in self._digests]
        return given.hex()[:8] if any(fits) and scheme.lower() == b"bearer" else None


class RateLimit:
    """So many requests a second for each key in the long run, and `burst` at once.

    A bucket for each key holds up to `burst` requests and gains `rate` a second.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # content, time

    def wait(self, key: str) -> float:
        """Take one request out of the key's bucket; 0, or the seconds until it holds one."""
        now = self._clock()
        content, then = self._buckets.pop(key, (float(self._burst), now))
        content = min(self._burst, content + (now - then) * self._rate)
        wait = 0.0 if content >= 1 else (1 - content) / self._rate
        self._buckets[key] = (content if wait else content - 1, now)
        while len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)
        return wait


async def read_body(receive: Receive, length: int | None, most: int) -> bytes:
    """The whole body of a request; `length` is what its header announces.

    Raises BodyTooLargeError beyond `most` bytes, ClientLeftError where it never came whole.
    """
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        if max(size, length or 0) > most:
            await _discard(receive, length)
            raise BodyTooLargeError
        part, more = _part(await receive())
        size += len(part)
        parts.append(part)
    if size > most:
        raise BodyTooLargeError
    return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read before, and then what `receive` gives."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def retry_headers(seconds: float) -> dict[str, str]:
    """What tells a client when to come back, to the second and to the millisecond."""
    return {
        "retry-after": str(max(1, math.ceil(seconds))),
        "retry-after-ms": str(math.ceil(seconds * 1000)),
    }


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _part(message: Message) -> tuple[bytes, bool]:
    if message["type"] != "http.request":
        raise ClientLeftError
    return message.get("body", b""), message.get("more_body", False)


async def _discard(receive: Receive, length: int | None) -> None:
    """Read on for a while: many clients look for an answer only when they have sent all."""
    left, more = _DISCARDED, (length or 0) <= _DISCARDED
    try:
        async with asyncio.timeout(_PATIENCE):
            while more and left > 0:
                part, more = _part(await receive())
                left -= len(part)
    except (TimeoutError, ClientLeftError):
        return
