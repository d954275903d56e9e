"""What stands before the app: request ids, log lines, metrics, tokens, and limits.

Plain ASGI, so that a streamed answer passes through as it is written.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_core.server.errors import CLIENT_GONE, ErrorBody, ErrorDetail
from llm_core.server.limits import (
    BodyTooLargeError,
    ClientLeftError,
    Keyring,
    RateLimit,
    read_body,
    replayed,
    retry_headers,
)
from llm_core.server.logs import Record, log, new_id, record_of
from llm_core.server.metrics import CONTENT_TYPE, Metrics
from llm_core.server.settings import ServerSettings, is_loopback

METRICS = "/metrics"
OPEN = ("/health", "/ready")  # no token, no rate
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REFUSED = "invalid_request_error"


def guard(app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> ASGIApp:
    """The app behind everything of this module; `GET /metrics` is answered here."""
    return Recorder(Doorkeeper(app, settings, metrics), metrics)


class Recorder:
    """Gives each request an id, and counts and logs how it ended."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its `Record`; an error of ours is logged and answered."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there is nothing here for web sockets: the server refuses them
        given = _header(scope, b"x-request-id")
        record = Record(given if _GIVEN_ID.fullmatch(given) else new_id(), metrics=self._metrics)
        scope["state"] = {**scope.get("state", {}), "record": record}
        answer = _Answer(send, record.id)
        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            _log_failure(record, error)
            answer.broken = True
            if answer.status is None:
                await _refuse(answer, 500, "the server failed; its log says why", "server_error")
        finally:
            self._count(scope, record, answer)

    def _count(self, scope: Scope, record: Record, answer: "_Answer") -> None:
        status = answer.status if answer.status is not None and answer.whole else CLIENT_GONE
        status = 500 if answer.broken else status
        method = scope["method"] if scope["method"] in _METHODS else "other"
        known = METRICS if scope["path"] == METRICS else "other"
        route = getattr(scope.get("route"), "path", known)
        self._metrics.request(method, route, status, record.seconds())
        log(
            "request",
            id=record.id,
            method=method,
            route=route,
            status=status,
            seconds=round(record.seconds(), 4),
            client=(scope.get("client") or ("",))[0],
            **record.notes,
        )


class _Answer:
    """Sends an answer on with its request id, and notes its status and whether it is whole."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = request_id.encode()
        self.status: int | None = None
        self.whole = False
        self.broken = False  # by an error of ours, maybe in the middle

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), (b"x-request-id", self._id)]
            message = {**message, "headers": headers}
        await self._send(message)
        if message["type"] == "http.response.body":
            self.whole = not message.get("more_body", False)


class Doorkeeper:
    """Lets in who may come, as often as they may, with as much as they may bring."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._keys = Keyring(settings.tokens)
        self._rate = RateLimit(settings.rate, settings.burst) if settings.rate else None
        self._most = settings.max_body
        self._timeout = settings.timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what may not come in; hand the rest to the app with its body read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not await self._may_enter(scope, send):
            return
        if scope["path"] == METRICS and scope["method"] == "GET":
            await _respond(send, 200, self._metrics.text(), CONTENT_TYPE)
            return
        body = await self._body(scope, receive, send)
        if body is not None:
            await self._app(scope, replayed(body, receive), send)

    async def _may_enter(self, scope: Scope, send: Send) -> bool:
        """Whether the request passes; it has been answered where not."""
        if not self._keys and not _from_here(scope):
            text = "a server without tokens answers no page of another site: set tokens, or use"
            await _refuse(send, 403, f"{text} http://127.0.0.1", "permission_error", "origin")
            return False
        owner = (scope.get("client") or ("",))[0]
        if self._keys and scope["path"] not in OPEN:
            found = self._keys.owner(_header(scope, b"authorization").encode("latin-1"))
            if found is None:
                text = "send a token of this server: Authorization: Bearer TOKEN"
                ask = {"www-authenticate": "Bearer"}
                await _refuse(send, 401, text, "authentication_error", "invalid_api_key", ask)
                return False
            owner = record_of(scope).notes["token"] = found
        if self._rate is None or scope["path"] in (*OPEN, METRICS):
            return True
        wait = self._rate.wait(owner)
        if wait:
            text = f"too many requests; try again in {wait:.1f} s"
            headers = retry_headers(wait)
            await _refuse(send, 429, text, "rate_limit_error", "rate_limit_exceeded", headers)
        return not wait

    async def _body(self, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """The request's body; None where it was answered, or nobody is there to answer."""
        announced = _header(scope, b"content-length")
        length = int(announced) if announced.isdecimal() else None
        close = {"connection": "close"}  # what is left of the body is not read
        try:
            async with asyncio.timeout(self._timeout):
                return await read_body(receive, length, self._most)
        except BodyTooLargeError:
            text = f"the request is larger than the {self._most} bytes that this server takes"
            await _refuse(send, 413, text, _REFUSED, "request_too_large", close)
        except TimeoutError:
            text = f"the request did not arrive within {self._timeout:g} s"
            await _refuse(send, 408, text, _REFUSED, "timeout", close)
        except ClientLeftError:
            pass
        return None


def _from_here(scope: Scope) -> bool:
    """Whether a request can be no trick of a web page that the person has open.

    Such a page names itself as the origin, or a name of its own that leads to this machine.
    """
    hosts = (f"//{host}" for host in _headers(scope, b"host") if host)
    origins = (origin for origin in _headers(scope, b"origin") if origin)
    return all(is_loopback(_host(url)) for url in (*hosts, *origins))


def _host(url: str) -> str:
    """The host that a URL names; "?" where it names none."""
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _header(scope: Scope, name: bytes) -> str:
    return next(iter(_headers(scope, name)), "")


def _log_failure(record: Record, error: Exception) -> None:
    log("failure", logging.ERROR, error, id=record.id)


async def _refuse(
    send: Send,
    status: int,
    message: str,
    kind: str,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    body = ErrorBody(error=ErrorDetail(message=message, type=kind, code=code))
    await _respond(send, status, body.model_dump_json().encode(), "application/json", headers)


async def _respond(
    send: Send,
    status: int,
    body: bytes,
    content_type: str,
    headers: Mapping[str, str] | None = None,
) -> None:
    fields = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
