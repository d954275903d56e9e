"""Real parts, wired: what is wrong with them is one line and exit code 2."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.messages import HumanMessage

from graphs.budget import CallMeter
from graphs.cli import main
from graphs.console import Console
from graphs.errors import UserError
from graphs.models import ModelChoice, build_chat_model
from graphs.wiring import ResearchOptions, versions, wire_research
from llm_core.convert import convert
from llm_core.engine import GenerationCancelledError
from llm_core.loading import model_hash
from tests.tiny_models import write_bert, write_gguf

ASK = "Where was the blue stone hidden?"
GOOSE = "The blue stone was hidden in the crop of a goose by James Ryder.\n"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> Run:
    """Run the real command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("DEERSTALKER_DATA_DIR", str(tmp_path / "data"))

    def call(*argv: str) -> Any:
        return main(argv), *capsys.readouterr()

    return call


@pytest.fixture
def goose(tmp_path: Path) -> Path:
    file = tmp_path / "docs" / "goose.txt"
    file.parent.mkdir()
    file.write_text(GOOSE, encoding="utf-8")
    return file


def refused(outcome: tuple[int, str, str]) -> str:
    """The error line of a run that ended with exit code 2 and nothing on stdout."""
    code, out, err = outcome
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out, len(lines)) == (2, "", 1), err
    assert "Traceback" not in err
    return lines[0]


def test_a_missing_path_is_named(run: Run, tmp_path: Path) -> None:
    line = refused(run(ASK, "--docs", str(tmp_path / "nowhere")))
    assert str(tmp_path / "nowhere") in line and "--docs" in line


def test_no_documents_at_all_names_the_switch(run: Run, monkeypatch: Any) -> None:
    monkeypatch.setattr("graphs.settings.sample_documents", list)
    assert "--docs" in refused(run(ASK))


def test_missing_models_name_the_command_that_fetches_them(
    run: Run, goose: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("DEERSTALKER_CACHE_DIR", str(tmp_path / "empty"))
    assert "graphs.doctor --fetch" in refused(run(ASK, "--docs", str(goose)))


@pytest.mark.parametrize(
    "name", ["gpt-99", "local:nobody/nothing", "nowhere.gguf", "martian:x", "hf:/nowhere/at/all"]
)
def test_an_unknown_model_is_named(run: Run, goose: Path, name: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    line = refused(run(ASK, "--docs", str(goose), "--model", name))
    assert name.removeprefix("local:").removeprefix("hf:") in line and len(line) < 700


def test_a_provider_without_a_key_says_how_to_give_one(
    run: Run, goose: Path, monkeypatch: Any
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    line = refused(run(ASK, "--docs", str(goose), "--model", "openai:gpt-4o"))
    assert "OPENAI_API_KEY" in line and "--base-url" in line


@pytest.mark.model
def test_a_folder_with_nothing_readable_is_named(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    assert str(folder) in refused(run(ASK, "--docs", str(folder)))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    assert "broken.pdf" in refused(run(ASK, "--docs", str(folder)))


@pytest.mark.model
def test_an_index_that_cannot_be_written_is_named(run: Run, goose: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    index = tmp_path / "file" / "index"
    assert str(index) in refused(run(ASK, "--docs", str(goose), "--index", str(index)))


@pytest.mark.model
def test_a_corrupt_index_is_rebuilt_and_said_so(run: Run, goose: Path, tmp_path: Path) -> None:
    places = ("--docs", str(goose), "--index", str(tmp_path / "index"))
    code, before, _ = run(ASK, *places)
    assert code == 0 and "goose" in before
    damaged = [path for path in (tmp_path / "index").rglob("*") if path.is_file()]
    for path in damaged:
        path.write_bytes(b"\0" * path.stat().st_size)
    code, after, err = run(ASK, *places)
    assert (code, after) == (0, before) and "rebuilt" in err


@pytest.mark.model
def test_the_result_names_everything_it_depends_on(run: Run, goose: Path, tmp_path: Path) -> None:
    argv = (ASK, "--docs", str(goose), "--json", "--deterministic", "--seed", "3")
    first, second = (json.loads(run(*argv)[1]) for _ in range(2))
    manifest = first["manifest"]
    for name in ("model", "embeddings", "index", "prompts"):
        assert len(manifest[name]) >= 12
    assert manifest["seed"] == 3 and manifest["versions"] == versions()
    assert {**first, "timings": 0} == {**second, "timings": 0}
    cited = first["citations"][0]
    text = goose.read_text(encoding="utf-8")
    assert text[cited["start"] : cited["end"]] == cited["quote"]


@pytest.mark.model
def test_an_explained_answer_shows_every_stage_as_a_table_and_as_json(
    run: Run, goose: Path
) -> None:
    code, out, _ = run(ASK, "--docs", str(goose), "--explain")
    answer, table = out.split("\nsearch  ", 1)
    assert code == 0 and "James Ryder" in answer
    for stage in ("plan", "words", "vectors", "fusion", "diversity"):
        assert f"\n  {stage} " in table
    assert "1. goose.txt, line 1  bm25" in table
    result = json.loads(run(ASK, "--docs", str(goose), "--explain", "--json")[1])
    assert result["search"][0]["stages"][0]["stage"] == "plan"
    assert json.loads(run(ASK, "--docs", str(goose), "--json")[1])["search"] == []


@pytest.mark.model
def test_state_holds_no_text_of_the_documents(run: Run, goose: Path, tmp_path: Path) -> None:
    goose.write_text(GOOSE + "Zanzibar is far from the place of which we speak.\n" * 3)
    run(ASK, "--docs", str(goose), "--state", str(tmp_path / "s"))
    with sqlite3.connect(tmp_path / "s") as db:
        stored = b"".join(row[0] for row in db.execute("SELECT checkpoint FROM checkpoints"))
    assert b"Ryder" in stored  # the cited sentence, in the result
    assert b"Zanzibar" not in stored


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An OpenAI-compatible server on loopback: its address, and the requests it got."""
    asked: list[dict[str, Any]] = []

    class Replies(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            message = {"role": "assistant", "content": "In a goose."}
            body = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "tiny",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Replies)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}/v1", asked
    httpd.shutdown()


@pytest.mark.parametrize("name", ["openai:tiny", "tiny"])
def test_a_server_of_ones_own_needs_no_key_and_its_calls_are_counted(
    server: tuple[str, list[dict[str, Any]]], name: str, monkeypatch: Any
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    address, asked = server
    meter = CallMeter()
    model, identity = build_chat_model(
        ModelChoice(name=name, base_url=address, seed=5), meter=meter
    )
    with meter.step() as tally:
        assert model.invoke("Where?").content == "In a goose."
    assert tally.calls == 1 and asked[0]["model"] == "tiny" and asked[0]["seed"] == 5
    assert identity == f"{name}@{address}"


def test_our_model_counts_replies_and_scores_and_stops_when_told(tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf")
    meter, cancel = CallMeter(), threading.Event()
    choice = ModelChoice(name=str(gguf), cache_dir=tmp_path / "cache")
    model: Any
    model, identity = build_chat_model(choice, meter=meter, cancel=cancel)
    assert len(identity) == 64
    with meter.step() as tally:
        model.invoke([HumanMessage("hello")], max_tokens=4)
        model.score([HumanMessage("hello")], ["a", "b"])
        model.extract([HumanMessage("hello")], "hello world", max_tokens=8)
    assert tally.calls == 3
    cancel.set()
    for call in (
        lambda: model.invoke([HumanMessage("hello")], max_tokens=4),
        lambda: model.score([HumanMessage("hello")], ["a", "b"]),
    ):
        with pytest.raises(GenerationCancelledError):
            call()


def test_a_hugging_face_folder_is_a_chat_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    convert(write_gguf(tmp_path / "tiny.gguf"), folder)
    meter = CallMeter()
    model, identity = build_chat_model(ModelChoice(name=f"hf:{folder}"), meter=meter)
    assert identity == model_hash(folder)
    with meter.step() as tally:
        reply = model.invoke([HumanMessage("hello")])
    assert isinstance(reply.content, str) and "hello" not in reply.content[:5]
    assert tally.calls == 1


def test_an_uninstalled_provider_names_its_package() -> None:
    with pytest.raises(UserError, match="langchain-mistralai"):
        build_chat_model(ModelChoice(name="mistralai:tiny"), meter=CallMeter())


def test_a_server_that_does_not_answer_is_named() -> None:
    choice = ModelChoice(name="tiny", base_url="http://127.0.0.1:9/v1")
    model, _ = build_chat_model(choice, meter=CallMeter())
    with pytest.raises(UserError, match=r"tiny@http://127\.0\.0\.1:9/v1 failed \(Connection"):
        model.invoke("Where?")


def test_the_password_of_a_server_is_in_no_identity_and_no_error_line() -> None:
    choice = ModelChoice(name="tiny", base_url="http://me:pass-word@127.0.0.1:9/v1")
    model, identity = build_chat_model(choice, meter=CallMeter())
    assert identity == "tiny@http://127.0.0.1:9/v1"
    with pytest.raises(UserError) as caught:
        model.invoke("Where?")
    assert "pass-word" not in str(caught.value)


Wiring = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture
def wired(tmp_path: Path, goose: Path, monkeypatch: Any) -> Wiring:
    """Wire tiny models for real: the manifest, and the lines said on stderr."""
    monkeypatch.setenv("DEERSTALKER_CACHE_DIR", str(tmp_path / "cache"))
    gguf = write_gguf(tmp_path / "tiny.gguf")
    bert = tmp_path / "bert"
    write_bert(bert)

    def wire(**options: Any) -> Any:
        said = StringIO()
        given = {"model": str(gguf), "embeddings": str(bert), **options}
        team = wire_research(
            ResearchOptions(docs=(goose,), index=tmp_path / "index", **given),
            console=Console(StringIO(), said),
            meter=CallMeter(),
        )
        return dict(team.manifest), said.getvalue().splitlines()

    return wire


def test_the_manifest_names_number_format_and_threads(wired: Wiring, monkeypatch: Any) -> None:
    monkeypatch.setenv("DEERSTALKER_THREADS", "2")
    manifest, _ = wired()
    assert (manifest["dtype"], manifest["threads"]) == ("auto", 2)
    monkeypatch.setenv("DEERSTALKER_DTYPE", "float32")
    monkeypatch.delenv("DEERSTALKER_THREADS")
    manifest, said = wired(deterministic=True)
    assert (manifest["dtype"], manifest["threads"]) == ("float32", 1)
    assert manifest["deterministic"] is True and not any("no effect" in line for line in said)


def test_a_repeatable_run_embeds_with_one_thread_from_the_start(wired: Wiring) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        wired(deterministic=True)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_served_model_is_not_called_deterministic(wired: Wiring) -> None:
    manifest, said = wired(
        model="tiny", base_url="http://127.0.0.1:9/v1", deterministic=True, seed=3
    )
    assert manifest["deterministic"] is False and manifest["dtype"] is None
    assert [line for line in said if "--deterministic" in line] == [
        "--deterministic has no effect on tiny: its replies may vary"
    ]
