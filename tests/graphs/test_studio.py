"""A real `langgraph dev` on loopback, driven with the SDK that Studio's clients use."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from langgraph_sdk.errors import NotFoundError

from graphs.settings import child_environment, telemetry_off
from graphs.state import STORED_TYPES

ROOT = Path(__file__).parents[2]
SHIPPED = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
ASK = {"question": "Where was the stone?"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/ok", timeout=2) as reply:
                if reply.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8")[-3000:])


@contextmanager
def serving(folder: Path, path: str, **env: str) -> Iterator[str]:
    """`langgraph dev` over the shipped configuration with another graph; yields its address."""
    graph = {**SHIPPED["graphs"]["research"], "path": path}
    config = {**SHIPPED, "dependencies": [str(ROOT)], "graphs": {"research": graph}}
    (folder / "langgraph.json").write_text(json.dumps(config), encoding="utf-8")
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--port", str(port), "--n-jobs-per-worker", "4"],
            cwd=folder,
            env={**child_environment(), **env},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(
        tmp_path_factory.mktemp("studio"), f"{ROOT}/tests/studio_graph.py:make_graph"
    ) as at:
        yield at


@pytest.fixture
def client(url: str) -> SyncLangGraphClient:
    return get_sync_client(url=url, api_key=None)


def test_studio_sees_the_input_and_output_forms(client: SyncLangGraphClient) -> None:
    assistant = client.assistants.search(graph_id="research")[0]
    schemas: Any = client.assistants.get_schemas(assistant["assistant_id"])
    asked = schemas["input_schema"]["properties"]
    assert asked.keys() == {"question", "review", "seed"}
    assert asked["question"]["description"] and asked["question"]["examples"]
    assert schemas["input_schema"]["required"] == ["question"]
    assert schemas["output_schema"]["properties"].keys() == {"result"}
    assert {"notes", "draft", "verified"} <= schemas["state_schema"]["properties"].keys()


def test_studio_draws_every_step(client: SyncLangGraphClient) -> None:
    graph: Any = client.assistants.get_graph("research")
    steps = {node["id"] for node in graph["nodes"]}
    assert {"intake", "plan", "review", "search", "gather", "write", "verify"} <= steps
    assert {"repair", "abstain", "finish"} <= steps
    joined = {node for edge in graph["edges"] for node in (edge["source"], edge["target"])}
    assert steps == joined


def test_a_run_streams_its_steps_and_keeps_its_history(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    events = list(
        client.runs.stream(thread, "research", input=ASK, stream_mode=["tasks", "values"])
    )
    assert not [event.data for event in events if event.event == "error"]
    started = [e.data["name"] for e in events if e.event == "tasks" and "input" in e.data]
    assert started.count("search") == 2 and started[-1] == "finish"
    state: Any = client.threads.get_state(thread)
    assert state["values"]["result"]["answer"].startswith("Fact 1")
    assert state["values"]["result"]["thread_id"] == thread
    assert len(client.threads.get_history(thread, limit=50)) >= 8


def waiting(client: SyncLangGraphClient) -> tuple[str, Any]:
    """A thread paused for review, and its interrupt."""
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "research", input={**ASK, "review": True})
    state: Any = client.threads.get_state(thread)
    assert state["next"] == ["review"]
    return thread, state["tasks"][0]["interrupts"][0]


def test_a_review_waits_says_what_it_accepts_and_goes_on(client: SyncLangGraphClient) -> None:
    thread, pause = waiting(client)
    action = pause["value"]["action_requests"][0]
    assert pause["value"]["review_configs"][0]["allowed_decisions"] == ["approve", "edit", "reject"]
    assert pause["response_schema"]["properties"].keys() == {"decisions"}
    edited = {"name": action["name"], "args": {"sub_questions": ["only this"]}}
    answer = {"decisions": [{"type": "edit", "edited_action": edited}]}
    client.runs.wait(thread, "research", command={"resume": answer})
    state: Any = client.threads.get_state(thread)
    assert [note["sub_question"] for note in state["values"]["notes"]] == ["only this"]
    assert state["next"] == [] and not state["values"]["result"]["abstained"]


def test_a_bad_review_answer_leaves_the_review_open(client: SyncLangGraphClient) -> None:
    thread, _ = waiting(client)
    bad = {"resume": {"decisions": [{"type": "edit"}]}}
    outcome: Any = client.runs.wait(thread, "research", command=bad, raise_error=False)
    assert "__error__" in outcome
    good = {"resume": {"decisions": [{"type": "approve"}]}}
    client.runs.wait(thread, "research", command=good)
    state: Any = client.threads.get_state(thread)
    assert state["values"]["result"]["answer"].startswith("Fact 1")


def test_a_past_step_can_be_forked(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "research", input=ASK)
    history: Any = client.threads.get_history(thread, limit=50)
    planned = next(
        point
        for point in history
        if point["values"].get("sub_questions") and not point["values"]["notes"]
    )
    fork: Any = client.threads.update_state(
        thread, {"sub_questions": ["forked"]}, as_node="plan", checkpoint=planned["checkpoint"]
    )
    client.runs.wait(thread, "research", checkpoint=fork["checkpoint"])
    state: Any = client.threads.get_state(thread)
    assert [note["sub_question"] for note in state["values"]["notes"]] == ["forked"]


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("https://smith.langchain.com", True),
        ("http://localhost:3000", True),
        ("http://127.0.0.1:2024", True),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("null", False),
    ],
)
def test_only_studio_and_this_machine_may_call_from_a_browser(
    url: str, origin: str, welcome: bool
) -> None:
    request = urllib.request.Request(f"{url}/info", headers={"Origin": origin})
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert (reply.headers["access-control-allow-origin"] == origin) is welcome
        assert reply.headers["access-control-allow-origin"] != "*"


def test_an_unknown_thread_is_not_found(client: SyncLangGraphClient) -> None:
    with pytest.raises(NotFoundError):
        client.threads.get_state("00000000-0000-4000-8000-000000000000")


def test_a_server_may_rebuild_the_types_of_the_state_and_no_others() -> None:
    serde = SHIPPED["checkpointer"]["serde"]
    assert serde["pickle_fallback"] is False
    assert serde["allowed_msgpack_modules"] == [
        [kind.__module__, kind.__qualname__] for kind in STORED_TYPES
    ]
    assert SHIPPED["env"]["LANGGRAPH_STRICT_MSGPACK"] == "true"


def test_the_server_sends_no_telemetry() -> None:
    assert SHIPPED["env"].items() >= telemetry_off().items()


def test_the_shipped_configuration_is_valid() -> None:
    command = [sys.executable, "-m", "langgraph_cli", "validate", "--config", "langgraph.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.model
def test_the_shipped_graph_answers_in_the_server(tmp_path: Path) -> None:
    document = tmp_path / "goose.txt"
    document.write_text("The blue stone was hidden in the crop of a goose by James Ryder.\n")
    places = {"DEERSTALKER_DOCS": str(document), "DEERSTALKER_DATA_DIR": str(tmp_path / "data")}
    with serving(tmp_path, f"{ROOT}/graphs/studio.py:make_graph", **places) as at:
        client = get_sync_client(url=at, api_key=None)
        thread = client.threads.create()["thread_id"]
        question = {"question": "Where was the blue stone hidden?"}
        out: Any = client.runs.wait(thread, "research", input=question)
        assert "goose" in out["result"]["answer"]
