"""The FAISS store: LangChain's contract, exact search, filters, and its files."""

import json
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

from retrievers.artefact import ArtefactError
from retrievers.dense import VectorIndex
from retrievers.errors import RetrievalError
from retrievers.faiss_store import FaissStore
from tests.fakes import HashEmbeddings


class TestFaissStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return FaissStore(self.get_embeddings())


def store_of(*texts: str) -> FaissStore:
    metadatas = [{"row": row, "even": row % 2 == 0} for row in range(len(texts))]
    ids = [f"id{row}" for row in range(len(texts))]
    return FaissStore.from_texts(list(texts), HashEmbeddings(), metadatas, ids=ids)


def test_search_is_exact_cosine() -> None:
    rng = np.random.default_rng(0)
    vectors, query = rng.normal(size=(200, 16)) * 3, rng.normal(size=16)
    index = VectorIndex.build([str(i) for i in range(200)], vectors)
    cosine = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    found = index.search(query, 10)
    assert [int(id_) for id_, _ in found] == list(np.argsort(-cosine)[:10])
    assert np.allclose([score for _, score in found], np.sort(cosine)[::-1][:10], atol=1e-5)


def test_rows_stay_with_their_ids_through_overwrites_and_deletions() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(20, 8))
    index = VectorIndex.build([str(i) for i in range(20)], vectors)
    index.remove(["3", "11", "nobody"])
    vectors[5] = rng.normal(size=8)
    index.put(["5"], vectors[[5]])
    assert len(index) == 18
    for row in set(range(20)) - {3, 11}:
        assert index.search(vectors[row], 1)[0][0] == str(row)
        assert np.allclose(
            index.vectors([str(row)])[0], vectors[row] / np.linalg.norm(vectors[row]), atol=1e-6
        )


def test_an_id_given_twice_at_once_keeps_the_last() -> None:
    store = FaissStore(HashEmbeddings())
    store.add_texts(["old words", "new words"], ids=["a", "a"])
    assert len(store) == 1
    assert store.get_by_ids(["a"])[0].page_content == "new words"


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


def test_saved_and_loaded_it_answers_the_same(tmp_path: Path) -> None:
    store = store_of("blue stone\u2028แมว", "red league", "gone")
    store.delete(["id2"])
    store.save(tmp_path / "store")
    loaded = FaissStore.load(tmp_path / "store", HashEmbeddings())
    query = "blue league"
    assert loaded.similarity_search_with_score(query) == store.similarity_search_with_score(query)
    names = {path.name for path in (tmp_path / "store").iterdir()}
    assert names == {"artefact.json", "documents.jsonl", "ids.json", "vectors.faiss"}


def test_an_empty_store_is_saved_and_loaded(tmp_path: Path) -> None:
    FaissStore(HashEmbeddings()).save(tmp_path / "store")
    loaded = FaissStore.load(tmp_path / "store", HashEmbeddings())
    assert loaded.similarity_search("anything") == []
    assert loaded.max_marginal_relevance_search("anything") == []


@pytest.mark.parametrize("name", ["vectors.faiss", "ids.json", "documents.jsonl", "artefact.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    store_of("blue stone", "red league").save(tmp_path / "store")
    file = tmp_path / "store" / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-7])
    else:
        file.unlink()
    with pytest.raises(ArtefactError, match=r"store"):
        FaissStore.load(tmp_path / "store", HashEmbeddings())


def test_another_version_is_refused(tmp_path: Path) -> None:
    store_of("blue stone").save(tmp_path / "store")
    seal = tmp_path / "store" / "artefact.json"
    seal.write_text(json.dumps({**json.loads(seal.read_text()), "version": 99}))
    with pytest.raises(ArtefactError, match="version 99"):
        FaissStore.load(tmp_path / "store", HashEmbeddings())


def test_a_name_in_the_seal_cannot_leave_the_folder(tmp_path: Path) -> None:
    store_of("blue stone").save(tmp_path / "store")
    seal = tmp_path / "store" / "artefact.json"
    held = json.loads(seal.read_text())
    (tmp_path / "outside").write_bytes(b"x")
    held["files"]["../outside"] = (
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # sha256 of "x"
    )
    seal.write_text(json.dumps(held))
    with pytest.raises(ArtefactError, match="outside"):
        FaissStore.load(tmp_path / "store", HashEmbeddings())


def test_a_vector_of_another_length_is_refused_with_both_lengths() -> None:
    store = store_of("blue stone")
    with pytest.raises(RetrievalError, match=r"32 numbers .* 64"):
        store.similarity_search_by_vector([1.0] * 32)
    with pytest.raises(RetrievalError, match=r"32 numbers .* 64"):
        store.add_vectors([Document(page_content="x")], [[1.0] * 32])


def test_a_vector_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(RetrievalError, match="not finite"):
        VectorIndex.build(["a"], [[1.0, float("nan")]])
