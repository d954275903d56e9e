import asyncio
import gc
import io
import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llm_core.server.logs import LOGGER, JsonLines, Record, log, logging_to_stderr, record_of
from llm_core.server.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status_and_timed():
    metrics = Metrics()
    metrics.request("POST", "/v1/embeddings", 200, 0.2)
    metrics.request("POST", "/v1/embeddings", 429, 0.001)
    found = samples(metrics)
    labels = (("method", "POST"), ("route", "/v1/embeddings"), ("status", "429"))
    assert found["deerstalker_requests_total", labels] == 1
    route = ("route", "/v1/embeddings")
    assert found["deerstalker_request_seconds_count", (route,)] == 2
    assert found["deerstalker_request_seconds_bucket", (("le", "0.1"), route)] == 1
    assert found["deerstalker_request_seconds_bucket", (("le", "0.25"), route)] == 2


def test_numbers_of_others_are_looked_up_when_they_are_read():
    metrics, line = Metrics(), [1, 2]
    metrics.gauge("deerstalker_queue_waiting", "Waiting.", lambda: len(line))
    metrics.counters("deerstalker_hits", "Hits.", lambda: {"tiny": 10 * len(line)})
    line.append(3)
    found = samples(metrics)
    assert found["deerstalker_queue_waiting", ()] == 3
    assert found["deerstalker_hits_total", (("model", "tiny"),)] == 30


def test_two_servers_in_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.tokens("tiny", 5, 7)
    assert samples(one)["deerstalker_tokens_total", (("kind", "reply"), ("model", "tiny"))] == 7
    assert not any(name == "deerstalker_tokens_total" for name, _ in samples(other))


def test_what_a_handler_reports_reaches_metrics_and_log_line():
    metrics = Metrics()
    scope = {"state": {"record": Record(metrics=metrics)}}
    record = record_of(scope)
    record.first_token("tiny")
    record.finished("tiny", 12, 3, "stop")
    wanted = {"model": "tiny", "prompt_tokens": 12, "reply_tokens": 3, "finish_reason": "stop"}
    assert wanted.items() <= record.notes.items()
    found = samples(metrics)
    assert found["deerstalker_tokens_total", (("kind", "prompt"), ("model", "tiny"))] == 12
    assert found["deerstalker_first_token_seconds_count", (("model", "tiny"),)] == 1


def test_a_request_that_nobody_logs_has_one_record_all_the_same():
    scope: dict[str, object] = {}
    assert record_of(scope) is record_of(scope)
    assert record_of(scope).id != record_of({}).id


@pytest.fixture
def lines():
    stream, logger = io.StringIO(), logging.getLogger(LOGGER)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_log_line_is_one_line_of_json(lines):
    log("listening", url="http://127.0.0.1:8000", odd="two\nlines")
    try:
        raise ValueError("what the person wrote")
    except ValueError as error:
        log("request", logging.ERROR, error, id="req_1")
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert (first["event"], first["level"], first["odd"]) == ("listening", "info", "two\nlines")
    assert (second["id"], second["error"]) == ("req_1", ["ValueError"])
    assert second["traceback"][-1].endswith(" test_a_log_line_is_one_line_of_json")
    assert "wrote" not in lines.getvalue()


def test_logging_to_stderr_shows_warnings_of_others_and_leaves_no_trace(capsys):
    logger, other = logging.getLogger(LOGGER), logging.getLogger("uvicorn.error")
    before = (logger.handlers, logger.propagate, logger.level, other.handlers)
    with logging_to_stderr(logging.INFO):
        log("listening")
        other.info("Waiting")
        other.warning("Invalid request")
    found = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert found == ["listening", "Invalid request"]
    assert (logger.handlers, logger.propagate, logger.level, other.handlers) == before
    log("nobody sees this")
    assert not capsys.readouterr().err


async def test_an_error_that_nobody_awaited_is_logged_without_its_text(capsys):
    async def failing() -> None:
        raise ValueError("what the person wrote")

    with logging_to_stderr():
        task = asyncio.create_task(failing())
        await asyncio.wait([task])
        del task
        gc.collect()
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert line["event"] == "Task exception was never retrieved"
    assert line["error"] == ["ValueError"] and "wrote" not in str(line)
