"""What is told to a client that cannot be served, in the shape of OpenAI's interface."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from llm_core.constrain import BudgetError, SchemaError
from llm_core.errors import (
    ContextBudgetError,
    ModelError,
    ModelFileError,
    ModelNotFoundError,
    StructuredOutputError,
)
from llm_core.server.gate import DrainingError, QueueFullError
from llm_core.server.limits import retry_headers

CLIENT_GONE = 499  # what proxies log for a client that hung up
_LONGEST = 500  # characters of a message
_FOOTER = "\nFor troubleshooting"  # which LangChain puts under messages, with a link to its site


class ErrorDetail(BaseModel):
    """Why a request was refused; `param` names the field where one is at fault."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class UnknownModelError(ModelError):
    """A request names a model that is not offered here."""


class RequestError(ModelError):
    """A request that cannot be served as it is; `param` names the field at fault."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class RequestTimeoutError(ModelError):
    """A request took longer than the server allows."""


class NotReadyError(ModelError):
    """The server does not take requests now."""


class ClientGoneError(Exception):
    """The client hung up before its answer was complete."""


# Status, type, code and field at fault by class; the first that fits counts.
_KNOWN: tuple[tuple[type[ModelError], int, str, str | None, str | None], ...] = (
    (UnknownModelError, 404, "invalid_request_error", "model_not_found", "model"),
    (ModelNotFoundError, 503, "server_error", "model_unavailable", "model"),
    (ModelFileError, 503, "server_error", "model_unavailable", "model"),
    (ContextBudgetError, 400, "invalid_request_error", "context_length_exceeded", "messages"),
    (BudgetError, 400, "invalid_request_error", "max_tokens_too_small", "max_tokens"),
    (SchemaError, 400, "invalid_request_error", "invalid_schema", None),
    (StructuredOutputError, 422, "invalid_reply_error", "invalid_reply", None),
    (QueueFullError, 429, "rate_limit_error", "queue_full", None),
    (DrainingError, 503, "server_error", "shutting_down", None),
    (NotReadyError, 503, "server_error", "not_ready", None),
    (RequestTimeoutError, 504, "server_error", "timeout", None),
)


def describe(error: ModelError) -> tuple[int, ErrorBody]:
    """The HTTP status and the body that tell a client about an expected error."""
    message = str(error).partition(_FOOTER)[0]
    for kind, status, name, code, param in _KNOWN:
        if isinstance(error, kind):
            return status, _body(message, name, code, param)
    param = error.param if isinstance(error, RequestError) else None
    return 400, _body(message, "invalid_request_error", None, param)


def internal() -> ErrorBody:
    """What a client is told of an error of ours: nothing but that it happened."""
    return _body("the server failed on this request; its log says why", "server_error", "internal")


def install(app: FastAPI) -> None:
    """Have every error of the app answered in OpenAI's shape."""
    app.add_exception_handler(ModelError, _on_model_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientGoneError, _on_gone)
    app.add_exception_handler(Exception, _on_failure)


def _body(message: str, kind: str, code: str | None = None, param: str | None = None) -> ErrorBody:
    line = " ".join(message.encode("utf-8", "replace").decode().split())[:_LONGEST]
    return ErrorBody(error=ErrorDetail(message=line, type=kind, param=param, code=code))


def _answer(status: int, body: ErrorBody, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body.model_dump(), status, headers)


async def _on_model_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ModelError)
    status, body = describe(error)
    headers = retry_headers(error.retry_after) if isinstance(error, QueueFullError) else None
    return _answer(status, body, headers)


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Of the branches of a union, the one that got furthest is the one that was meant.
    worst = max(
        error.errors(), key=lambda entry: (len(entry["loc"]), not entry["type"].endswith("_type"))
    )
    param = _param(worst["loc"], error.body, worst["type"] == "missing")
    message = worst["msg"].removeprefix("Value error, ")
    if worst["type"] == "json_invalid":
        message, param = "the body is not valid JSON", None
    elif worst["type"] == "extra_forbidden":
        message = "this field is not known here; leave it out"
    elif param is None and worst["type"] != "value_error":
        message = f"{message}: send a JSON object with Content-Type: application/json"
    line = f"{param}: {message}" if param else message
    return _answer(400, _body(line, "invalid_request_error", None, param))


async def _on_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(
        error.status_code, _body(str(error.detail), "invalid_request_error"), error.headers
    )


async def _on_gone(_: Request, error: Exception) -> JSONResponse:
    return _answer(CLIENT_GONE, _body(str(error) or "the client hung up", "client_gone"))


async def _on_failure(_: Request, __: Exception) -> JSONResponse:
    return _answer(500, internal())


def _param(place: Sequence[int | str], body: Any, missing: bool) -> str | None:
    """The path to a field in the client's own body, without the validator's names of branches.

    `missing` says that the last name of `place` is that of a field which the body lacks.
    """
    path: list[str] = []
    at = body
    for part in place[1:-1] if missing else place[1:]:
        known = isinstance(at, dict) and part in at
        if known or (isinstance(at, list) and isinstance(part, int) and part < len(at)):
            at = at[part]
            path.append(str(part))
    return ".".join([*path, str(place[-1])] if missing and place[1:] else path) or None
