import asyncio
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from benchmarks.server_load import Clients, Load, Server, Tally, serving
from llm_core.__main__ import main
from llm_core.server.running import address, listening

LONG = {"type": "regex", "pattern": "[a-z]{400}"}


@pytest.fixture(scope="module")
def server(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two slots, a queue of two; ended by the last test that needs it."""
    log = tmp_path_factory.mktemp("serve") / "log"
    options = ("--model", f"tiny={tiny_folder}", "--slots", "2", "--queue", "2")
    with serving(*options, log=log, DEERSTALKER_DTYPE="float32") as found:
        yield found


def body(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Where was the goose?"}]
    return {"model": "tiny", "messages": messages, "max_tokens": 8, **more}


def events(server: Server, event: str) -> list[dict[str, Any]]:
    lines = map(json.loads, server.log.read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def test_it_prints_where_it_listens_and_takes_requests(server: Server):
    assert urlsplit(server.url).hostname == "127.0.0.1" and server.url.endswith("/v1")
    root = server.url.removesuffix("/v1")
    assert httpx.get(f"{root}/ready").json() == {"status": "ready"}
    answer = httpx.post(f"{server.url}/chat/completions", json=body())
    assert answer.json()["usage"]["completion_tokens"] > 0
    found = httpx.get(f"{root}/metrics").text
    assert 'deerstalker_prefix_tokens_total{model="tiny"}' in found
    assert "deerstalker_slots 2.0" in found
    assert answer.headers["x-request-id"] in [line["id"] for line in events(server, "request")]


def test_a_body_that_is_too_large_is_answered_although_it_was_not_used(server: Server):
    for content in (b" " * (5 << 20), iter([b" " * (1 << 20)] * 6)):
        answer = httpx.post(f"{server.url}/chat/completions", content=content)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"


def test_clients_that_come_back_when_told_to_are_all_answered(server: Server):
    tally = Tally()
    load = Load("tiny", clients=40, requests=60, max_tokens=4)
    asyncio.run(Clients(server.url, tally).ask_all(load.questions(), load.clients))
    assert (len(tally.served), tally.faults) == (60, [])
    assert tally.turned_away > 0
    refused = [line for line in events(server, "request") if line["status"] == 429]
    assert len(refused) == tally.turned_away


def test_sigterm_lets_the_work_end_and_refuses_new_requests(server: Server):
    root = server.url.removesuffix("/v1")
    asked = body(stream=True, response_format=LONG, max_tokens=420)
    with httpx.stream("POST", f"{server.url}/chat/completions", json=asked, timeout=60) as stream:
        lines = stream.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        while httpx.get(f"{root}/ready").status_code == 200:
            assert server.process.poll() is None
        answer = httpx.post(f"{server.url}/chat/completions", json=body())
        rest = [line for line in lines if line]
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "shutting_down"
    assert rest[-1] == "data: [DONE]" and '"finish_reason":"stop"' in rest[-2]
    assert server.process.wait(30) == 0
    assert events(server, "draining")[0]["in_work"] == 1 and events(server, "drained")


def test_ctrl_c_twice_ends_at_once(tiny_folder: Path, tmp_path: Path):
    with serving("--model", f"tiny={tiny_folder}", log=tmp_path / "log") as server:
        asked = body(stream=True, response_format=LONG, max_tokens=420)
        with httpx.stream("POST", f"{server.url}/chat/completions", json=asked) as stream:
            lines = stream.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGINT)
            while not events(server, "draining"):
                time.sleep(0.01)
            server.process.send_signal(signal.SIGINT)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        assert server.process.wait(30) == 130
        assert not events(server, "drained")


@pytest.mark.parametrize(
    ("place", "url"),
    [
        (("127.0.0.1", 80), "http://127.0.0.1:80"),
        (("0.0.0.0", 81), "http://127.0.0.1:81"),
        (("::", 82, 0, 0), "http://[::1]:82"),
        (("::1", 83, 0, 0), "http://[::1]:83"),
    ],
)
def test_the_url_is_one_that_this_machine_reaches(place, url):
    class Listening(socket.socket):
        def getsockname(self) -> Any:
            return place

    with Listening() as found:
        assert address(found) == url


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", ""])
def test_a_host_may_be_a_name_an_address_or_all(host):
    with listening(host, 0) as found:
        assert socket.create_connection(("127.0.0.1", found.getsockname()[1])).close() is None


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["serve", *argv]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and not said.out
    return said.err


def test_an_address_in_use_is_named(capsys, tiny_folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(capsys, "--model", str(tiny_folder), "--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}: " in said and "choose another" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "give a token"),
        (["--model", "no-such-model"], "there is no model 'no-such-model'"),
        (["--rate", "-1"], "--rate -1.0 is not usable"),
        (["--tokens-file", "none"], "cannot read the tokens in none"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(capsys, options, message):
    assert message in refused(capsys, *options)


def test_a_folder_that_is_no_adapter_is_named(capsys, tiny_folder: Path, tmp_path: Path):
    said = refused(capsys, "--model", str(tiny_folder), "--adapter", f"mine={tmp_path}")
    assert f"{tmp_path} is no adapter" in said


def test_a_missing_package_is_named_with_the_command_that_installs_it(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install 'deerstalker[server]'" in refused(capsys)
