"""One JSON line for each request and event on stderr; what people wrote is never in it."""

import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from llm_core.server.metrics import Metrics

LOGGER = "llm_core.server"
_LEVELS = {
    "asyncio": logging.WARNING,
    "uvicorn.error": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
}


def new_id() -> str:
    """A request id that nobody else has."""
    return f"req_{uuid4().hex}"


@dataclass
class Record:
    """What is known of one request: goes to its log line and to the metrics.

    A handler gets it from `record_of`. `notes` are further fields of the log line: names and
    numbers, never a text that a person or a model wrote.
    """

    id: str = field(default_factory=new_id)
    began: float = field(default_factory=time.perf_counter)
    metrics: Metrics = field(default_factory=Metrics)
    notes: dict[str, Any] = field(default_factory=dict)

    def seconds(self) -> float:
        """Time since the request arrived."""
        return time.perf_counter() - self.began

    def first_token(self, model: str) -> None:
        """The model has written its first token, or made its first call."""
        self.notes["first_token_s"] = round(self.seconds(), 4)
        self.metrics.first_token(model, self.seconds())

    def finished(self, model: str, prompt: int, reply: int, reason: str | None = None) -> None:
        """A reply ended, or embeddings were made; `prompt` and `reply` count their tokens."""
        self.notes |= {"model": model, "prompt_tokens": prompt, "reply_tokens": reply}
        if reason is not None:
            self.notes["finish_reason"] = reason
        self.metrics.tokens(model, prompt, reply)


def record_of(scope: MutableMapping[str, Any]) -> Record:
    """The record of an ASGI request (`request.scope`); a fresh one where nothing is logged."""
    record: Record = scope.setdefault("state", {}).setdefault("record", Record())
    return record


class JsonLines(logging.Formatter):
    """A log record as one line of JSON; its `fields` (a dict) are added as they are.

    Of an error it shows kind and place. Its message may quote what a person wrote.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Time in UTC, level, event, the fields, and where an error came from."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        event = record.getMessage().partition("\n")[0]  # asyncio's next one quotes the error
        line = {"time": when, "level": record.levelname.lower(), "event": event}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= _places(record.exc_info[1])
        return json.dumps(line, default=str)


def _places(error: BaseException) -> dict[str, Any]:
    """Kinds of an error and of what caused it, and where each line of its traceback is."""
    kinds: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(kinds) < 8:
        kinds.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": kinds,
        "traceback": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


@contextmanager
def logging_to_stderr(level: int = logging.INFO) -> Iterator[None]:
    """Write the lines of this server, and the warnings of what it runs on, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    levels = {LOGGER: level, **_LEVELS}
    loggers = [logging.getLogger(name) for name in levels]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(levels[logger.name])
    try:
        yield
    finally:
        for logger, (handlers, propagate, was) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(was)


def log(
    event: str, level: int = logging.INFO, error: BaseException | None = None, **fields: Any
) -> None:
    """Log an event with fields; nothing where `logging_to_stderr` is not in use."""
    logging.getLogger(LOGGER).log(level, event, exc_info=error, extra={"fields": fields})
