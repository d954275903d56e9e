"""The FAISS store: LangChain's contract in memory and in a folder, filters, and its files."""

import threading
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

from retrievers.approximate import Policy
from retrievers.artefact import ArtefactError
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.faiss_store import FaissStore
from tests.fakes import HashEmbeddings


class TestFaissStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return FaissStore(self.get_embeddings())


class TestFaissStoreInAFolder(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> VectorStore:
        return FaissStore.open(tmp_path / "store", self.get_embeddings())


class TestApproximateFaissStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> VectorStore:
        policy = Policy(kind="hnsw", flat_limit=0, outside_limit=0, exact_among=0)
        return FaissStore.open(tmp_path / "store", self.get_embeddings(), policy=policy)


def store_of(*texts: str) -> FaissStore:
    metadatas = [{"row": row, "even": row % 2 == 0} for row in range(len(texts))]
    ids = [f"id{row}" for row in range(len(texts))]
    return FaissStore.from_texts(list(texts), HashEmbeddings(), metadatas, ids=ids)


def test_an_id_given_twice_at_once_keeps_the_last() -> None:
    store = FaissStore(HashEmbeddings())
    store.add_texts(["old words", "new words"], ids=["a", "a"])
    assert len(store) == 1
    assert store.get_by_ids(["a"])[0].page_content == "new words"


@pytest.mark.parametrize("where", [{"row": {"$in": [1, 3]}}, {"row": {"$gt": 0}, "even": False}])
def test_filters_speak_one_language(tmp_path: Path, where: dict[str, object]) -> None:
    store = store_of("a goose", "a goose here", "a goose there", "a goose now")
    store.save(tmp_path / "store")
    for held in (store, FaissStore.open(tmp_path / "store", HashEmbeddings())):
        assert {d.id for d in held.similarity_search("goose", filter=where)} == {"id1", "id3"}
        held.add_texts(["a goose then"], [{"row": 3, "even": False}], ids=["new"])
        held.delete(["id1"])
        assert {d.id for d in held.similarity_search("goose", filter=where)} == {"id3", "new"}
    with pytest.raises(RetrievalError, match="takes a number"):
        store.similarity_search("goose", filter={"row": {"$gt": "many"}})


def test_filters_choose_before_the_search_counts() -> None:
    store = store_of("a goose", "a goose here", "a goose there", "a goose now", "a duck")
    assert {d.id for d in store.similarity_search("goose", k=3, filter={"even": True})} == {
        "id0",
        "id2",
        "id4",
    }
    found = store.similarity_search("goose", k=9, filter=lambda d: d.metadata["row"] > 2)
    assert {d.id for d in found} == {"id3", "id4"}
    assert store.similarity_search("goose", k=2, filter={"row": "none"}) == []


def test_mmr_prefers_a_second_subject_to_a_repetition() -> None:
    store = store_of("blue stone goose", "blue stone goose", "blue stone bank manager")
    found = store.max_marginal_relevance_search("blue stone goose", k=2, lambda_mult=0.3)
    assert [d.id for d in found] == ["id0", "id2"]


def test_relevance_scores_lie_between_zero_and_one() -> None:
    found = store_of("blue stone", "red league").similarity_search_with_relevance_scores("blue")
    assert all(0 <= score <= 1 for _, score in found) and len(found) == 2


def test_results_are_copies() -> None:
    store = store_of("blue stone")
    store.similarity_search("blue")[0].metadata["row"] = 99
    assert store.get_by_ids(["id0"])[0].metadata["row"] == 0


def test_a_saved_store_answers_the_same(tmp_path: Path) -> None:
    store = store_of("blue stone\u2028แมว", "red league", "gone")
    store.delete(["id2"])
    store.save(tmp_path / "store")
    opened = FaissStore.open(tmp_path / "store", HashEmbeddings())
    query = "blue league"
    assert opened.similarity_search_with_score(query) == store.similarity_search_with_score(query)
    assert {path.name for path in (tmp_path / "store").iterdir()} >= {
        "store.sqlite",
        "vectors-0.f32",
    }
    with pytest.raises(FileExistsError):
        store.save(tmp_path / "store")


def test_an_empty_store_is_saved_and_opened(tmp_path: Path) -> None:
    FaissStore(HashEmbeddings()).save(tmp_path / "store")
    opened = FaissStore.open(tmp_path / "store", HashEmbeddings())
    assert opened.similarity_search("anything", filter={"a": 1}) == [] and len(opened) == 0
    assert opened.max_marginal_relevance_search("anything") == []
    assert opened.delete(["nobody"]) and opened.delete()


def test_every_change_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    store = FaissStore.open(tmp_path / "store", HashEmbeddings())
    store.add_texts(
        ["a goose", "a duck", "a swan"], [{"n": 1}, {"n": 2}, {"n": 3}], ids=["g", "d", "s"]
    )
    store.add_texts(["a gander"], [{"n": 4}], ids=["g"])
    store.delete(["d"])
    again = FaissStore.open(tmp_path / "store", HashEmbeddings())
    assert [(d.id, d.page_content, d.metadata) for d in again.get_by_ids(["g", "d", "s"])] == [
        ("g", "a gander", {"n": 4}),
        ("s", "a swan", {"n": 3}),
    ]
    assert again.similarity_search("gander", k=9)[0].id == "g" and len(again) == 2


def test_what_another_process_writes_is_seen(tmp_path: Path) -> None:
    one = FaissStore.open(tmp_path / "store", HashEmbeddings())
    other = FaissStore.open(tmp_path / "store", HashEmbeddings())
    one.add_texts(["a goose"], [{"n": 1}], ids=["g"])
    assert other.similarity_search("goose", filter={"n": 1})[0].id == "g"
    other.add_texts(["a duck"], [{"n": 2}], ids=["d"])
    one.add_texts(["a swan"], [{"n": 2}], ids=["s"])
    assert {d.id for d in other.similarity_search("bird", filter={"n": 2})} == {"d", "s"}
    other.delete(["g"])
    assert len(one) == 2 and one.get_by_ids(["g"]) == []


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = FaissStore.open(tmp_path / "store", HashEmbeddings())
    store.add_texts(["start"], [{"n": 0}], ids=["start"])
    faults: list[Exception] = []

    def work(name: int) -> None:
        try:
            for at in range(5):
                store.add_texts([f"text {name} {at}"], [{"n": name}], ids=[f"{name}-{at}"])
                store.similarity_search("text", k=3, filter={"n": name})
                store.delete([f"{name}-{at - 2}"])
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == [] and len(store) == 1 + 4 * 2


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_a_large_store_is_promoted_and_opened_with_its_index(tmp_path: Path, kind: str) -> None:
    policy = Policy(kind=kind, outside_limit=100, exact_among=20)  # type: ignore[arg-type]  # a Kind
    rng, model = np.random.default_rng(0), HashEmbeddings()
    vectors = rng.normal(size=(400, model.dimension))
    documents = [
        Document(id=str(n), page_content=f"text {n}", metadata={"n": n}) for n in range(400)
    ]
    store = FaissStore.open(tmp_path / "store", model, policy=policy)
    for at in range(0, 400, 80):
        store.add_vectors(documents[at : at + 80], vectors[at : at + 80])
    assert (tmp_path / "store" / "approximate-0" / "approximate.faiss").exists()
    again = FaissStore.open(tmp_path / "store", model, policy=policy)
    near = again._shelf.index.approximate
    assert near is not None and near.kind == kind and near.size == 320
    for held in (store, again):
        hits = sum(
            held.similarity_search_by_vector(v.tolist(), 1)[0].id == str(n)
            for n, v in enumerate(vectors)
        )
        assert hits >= 380
        found = held.similarity_search_by_vector(vectors[7].tolist(), 9, filter={"n": {"$lt": 200}})
        assert found[0].id == "7" and all(d.metadata["n"] < 200 for d in found)
    again.add_vectors([Document(id="new", page_content="new")] * 1, [vectors[0] + vectors[1]])
    again.delete([str(n) for n in range(0, 400, 2)])
    assert (
        len(store) == 201 and store.similarity_search_by_vector(vectors[6].tolist(), 1)[0].id != "6"
    )


def test_an_approximate_index_that_is_damaged_is_done_without(tmp_path: Path) -> None:
    policy = Policy(kind="hnsw", outside_limit=10, exact_among=2)
    store = FaissStore.open(tmp_path / "store", HashEmbeddings(), policy=policy)
    store.add_texts([f"text {n}" for n in range(30)], ids=[str(n) for n in range(30)])
    (tmp_path / "store" / "approximate-0" / "approximate.faiss").write_bytes(b"x")
    again = FaissStore.open(tmp_path / "store", HashEmbeddings(), policy=policy)
    assert again.similarity_search("text 7", k=1)[0].id == "7"
    again.add_texts(["more"], ids=["more"])
    assert (
        FaissStore.open(
            tmp_path / "store", HashEmbeddings(), policy=policy
        )._shelf.index.approximate
        is not None
    )


def test_gaps_are_closed_and_nothing_is_mixed_up(tmp_path: Path) -> None:
    store = FaissStore.open(tmp_path / "store", HashEmbeddings())
    texts = [f"text number {n}" for n in range(2400)]
    ids = [str(n) for n in range(2400)]
    store.add_texts(texts, [{"n": n} for n in range(2400)], ids=ids)
    assert store.similarity_search("text", k=1, filter={"n": 5})[0].id == "5"
    store.delete([str(n) for n in range(2400) if n % 3])
    files = sorted(path.name for path in (tmp_path / "store").glob("vectors-*"))
    assert files == ["vectors-1.f32"]
    for held in (store, FaissStore.open(tmp_path / "store", HashEmbeddings())):
        assert len(held) == 800
        for n in (0, 3, 1200, 2397):
            assert held.similarity_search(f"text number {n}", k=1)[0].id == str(n)
            assert held.similarity_search("text", k=9, filter={"n": n})[0].id == str(n)


def test_a_second_writer_waits_and_is_told(tmp_path: Path) -> None:
    one = FaissStore.open(tmp_path / "store", HashEmbeddings())
    other = FaissStore.open(tmp_path / "store", HashEmbeddings(), wait=0.2)
    one.add_texts(["a goose"], ids=["g"])
    with (
        one._shelf.writing(),
        pytest.raises(IndexStoreError, match=r"written by another process for 0.2 s.*try again"),
    ):
        other.add_texts(["a duck"])
    other.add_texts(["a duck"], ids=["d"])
    assert len(one) == 2


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    store_of("a goose").save(tmp_path / "store")
    with pytest.raises(RetrievalError, match=r"hash-1.*another-2"):
        FaissStore.open(tmp_path / "store", HashEmbeddings(name="another-2"))
    with pytest.raises(RetrievalError, match=r"hash-1.*another-2"):
        FaissStore.repair(tmp_path / "store", HashEmbeddings(name="another-2"))


def test_metadata_that_cannot_be_kept_is_told_and_nothing_is_stored(tmp_path: Path) -> None:
    store = FaissStore.open(tmp_path / "store", HashEmbeddings())
    with pytest.raises(RetrievalError, match=r"'g' cannot be stored.*set"):
        store.add_texts(["a duck", "a goose"], [{}, {"x": {1}}], ids=["d", "g"])
    assert len(store) == 0


def test_a_vector_of_another_length_is_refused_with_both_lengths(tmp_path: Path) -> None:
    store_of("blue stone").save(tmp_path / "store")
    for store in (store_of("x"), FaissStore.open(tmp_path / "store", HashEmbeddings())):
        with pytest.raises(RetrievalError, match=r"32 numbers .* 64"):
            store.similarity_search_by_vector([1.0] * 32)
        with pytest.raises(RetrievalError, match=r"32 numbers .* 64"):
            store.add_vectors([Document(page_content="x")], [[1.0] * 32])
        assert len(store) == 1


def test_another_version_is_refused(tmp_path: Path) -> None:
    store_of("blue stone").save(tmp_path / "store")
    file = tmp_path / "store" / "store.sqlite"
    raw = bytearray(file.read_bytes())
    raw[60:64] = (77).to_bytes(4, "big")  # where SQLite keeps user_version
    file.write_bytes(raw)
    with pytest.raises(ArtefactError, match="version 77, not 1"):
        FaissStore.open(tmp_path / "store", HashEmbeddings())
