"""Reading and embedding on a local Ray: as without it, also where a worker is killed midway."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrievers.corpus import Corpus
from retrievers.indexing import update_index
from retrievers.ray_work import RayWork, RayWorkError, ray_work
from tests.fakes import HashEmbeddings
from tests.retrievers.index_helpers import content, write_stories

pytest.importorskip("ray", reason="the extra `ray` is not installed")

COPIES = 120
TEXTS = 3 * COPIES


class NotedEmbeddings(HashEmbeddings):
    """Leaves the id of the process that embeds in `folder`, with how many texts it did."""

    def __init__(self, folder: Path) -> None:
        super().__init__(delay=0.1)
        self.folder = folder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors = super().embed_documents(texts)
        (self.folder / str(os.getpid())).write_text(str(len(self.embedded)), encoding="utf-8")
        return vectors


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stories(tmp_path_factory.mktemp("docs"), COPIES)


@pytest.fixture(scope="module")
def built(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What an index holds that was built by this process alone."""
    folder = tmp_path_factory.mktemp("built") / "index"
    update_index(Corpus(folder), [docs], HashEmbeddings())
    return content(folder)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def work(notes: Path) -> Iterator[RayWork]:
    """Two workers of a Ray that lasts as long as these tests."""
    with ray_work(NotedEmbeddings(notes), "local", 2) as work:
        yield work


def workers_of_ray(named: bytes) -> list[int]:
    """The processes of our Ray whose title holds `named`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _ancestor(int(folder.name)):
            title = _read(folder / "cmdline")
            if title.startswith(b"ray::") and named in title:
                found.append(int(folder.name))
    return found


def _ancestor(process: int) -> bool:
    """Whether this process began it, or began what did."""
    while process > 1:
        fields = _read(Path(f"/proc/{process}/stat")).rpartition(b")")[2].split()
        process = int(fields[1]) if fields else 0
        if process == os.getpid():
            return True
    return False


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_a_worker_killed_while_it_embeds_loses_and_doubles_nothing(
    tmp_path: Path, docs: Path, built: dict[str, object], notes: Path, work: RayWork
) -> None:
    killed: list[int] = []

    def kill_one(stage: str, done: int, total: int) -> None:
        if stage == "embedding" and done and not killed:
            killed.append(int(next(notes.iterdir()).name))
            os.kill(killed[0], signal.SIGKILL)

    report = update_index(Corpus(tmp_path / "i"), [docs], HashEmbeddings(), kill_one, work=work)
    assert killed and report.indexed == report.passages == TEXTS
    others = {int(file.name) for file in notes.iterdir()} - set(killed)
    assert os.getpid() not in others and len(others) >= 1
    assert content(tmp_path / "i") == built


def test_a_worker_killed_while_it_reads_loses_and_doubles_nothing(
    tmp_path: Path, docs: Path, built: dict[str, object], work: RayWork
) -> None:
    killed: list[int] = []

    def kill_one(stage: str, done: int, total: int) -> None:
        if stage == "reading" and done and not killed:
            killed.extend(workers_of_ray(b"_read_rows")[:1])
            for process in killed:
                os.kill(process, signal.SIGKILL)

    update_index(Corpus(tmp_path / "i"), [docs], HashEmbeddings(), kill_one, work=work)
    assert killed and content(tmp_path / "i") == built


def test_an_address_without_a_cluster_is_told_in_one_line() -> None:
    with (
        pytest.raises(RayWorkError, match=r"0 workers are too few") as caught,
        ray_work(HashEmbeddings(), "local", 0),
    ):
        raise AssertionError("it began")
    assert "\n" not in str(caught.value)
