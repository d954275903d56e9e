"""Chroma, embedded and as a server: LangChain's contract, our filters, its errors."""

import random
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

from retrievers.chroma_store import ChromaEngine, flat, nested, open_chroma
from retrievers.dense import unit_rows
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.filters import matches
from retrievers.store_index import StoreIndex
from tests.fakes import HashEmbeddings
from tests.retrievers.test_columns import some_filter

pytest.importorskip("langchain_chroma", reason="langchain-chroma is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Chroma server in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Path(sysconfig.get_path("scripts")) / "chroma"
    data = tmp_path_factory.mktemp("chroma")
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [command, "run", "--host", "127.0.0.1", "--port", str(port), "--path", str(data)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(f"{url}/api/v2/heartbeat")
            yield url
        finally:
            process.terminate()


def wait_for(url: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def fresh() -> str:
    return f"test-{uuid.uuid4().hex}"


class TestEmbeddedChroma(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> VectorStore:
        return open_chroma(self.get_embeddings(), folder=tmp_path / "chroma")


class TestChromaServer(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, server: str) -> VectorStore:
        return open_chroma(self.get_embeddings(), url=server, collection=fresh())


VALUES: list[object] = [1, 1.0, 2.5, True, "b", "1"]
METADATA = [{"x": x, "y": y} for x in VALUES for y in (0, "b", False)] + [{"z": 1}, {}]


@pytest.mark.parametrize("where", ["embedded", "server"])
def test_our_filters_mean_the_same_there(where: str, tmp_path: Path, server: str) -> None:
    model = HashEmbeddings()
    store = (
        open_chroma(model, folder=tmp_path / "chroma")
        if where == "embedded"
        else open_chroma(model, url=server, collection=fresh())
    )
    index = StoreIndex(store, model)
    documents = [
        Document(id=str(row), page_content=f"text {row}", metadata=metadata)
        for row, metadata in enumerate(METADATA)
    ]
    vectors = unit_rows(model.embed_documents([d.page_content for d in documents]))
    ChromaEngine(store).put(documents, vectors)
    rng = random.Random(2)
    for _ in range(60):
        asked = some_filter(rng)
        expected = {d.id for d in documents if matches(d.metadata, asked)}
        found = index.search(model.embed_query("text 3"), 50, where=asked)
        assert {id_ for id_, _ in found} == expected, asked


def test_an_index_behind_chroma_searches_like_our_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors, query = rng.normal(size=(60, 16)), rng.normal(size=16)
    index = StoreIndex(open_chroma(HashEmbeddings(), folder=tmp_path), HashEmbeddings())
    assert len(index) == 0 and index.search(query, 5) == []
    index.put([str(n) for n in range(60)], vectors)
    index.put(["7", "7"], [vectors[7], -vectors[7]])
    vectors[7] *= -1
    index.remove(["3", "nobody"])
    cosine = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    order = [str(n) for n in np.argsort(-cosine) if n != 3]
    found = index.search(query, 8)
    assert [id_ for id_, _ in found] == order[:8] and len(index) == 59
    assert [score for _, score in found] == pytest.approx(
        [cosine[int(i)] for i, _ in found], abs=1e-4
    )
    among = ["5", "7", "9", "nobody"]
    assert [id_ for id_, _ in index.search(query, 8, among)] == [i for i in order if i in among]
    assert np.allclose(index.vectors(["9", "5"]), unit_rows(vectors[[9, 5]]), atol=1e-6)
    assert index.search(query, 8, ["nobody"]) == []


def test_metadata_of_every_shape_goes_there_and_back() -> None:
    shapes: list[dict[str, object]] = [
        {},
        {"a": 1},
        {"a": None, "b": [], "c": {"d": [1, "x"]}, "e": True},
    ]
    for metadata in shapes:
        assert nested(flat(metadata)) == metadata


def test_what_is_wrong_is_told_in_one_line(tmp_path: Path) -> None:
    model = HashEmbeddings()
    (tmp_path / "file").write_text("x")
    with pytest.raises(IndexStoreError, match=r"answers at http://127.0.0.1:9: .*chroma run"):
        open_chroma(model, url="http://127.0.0.1:9")
    with pytest.raises(RetrievalError, match="'localhost:8000' is no Chroma server"):
        open_chroma(model, url="localhost:8000")
    with pytest.raises(RetrievalError, match="a folder or the URL"):
        open_chroma(model)
    with pytest.raises(RetrievalError, match=r"refuses this.*name") as caught:
        open_chroma(model, folder=tmp_path / "chroma", collection="!")
    assert "\n" not in str(caught.value)
    index = StoreIndex(open_chroma(model, folder=tmp_path / "chroma"), model)
    index.put(["a"], [[1.0, 0.0]])
    with pytest.raises(RetrievalError, match="dimension"):
        index.put(["b"], [[1.0, 0.0, 0.0]])
