"""The vector index: exact and approximate search, filters, gaps, growth, and its files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from retrievers.approximate import Kind, Policy
from retrievers.artefact import ArtefactError
from retrievers.dense import VectorIndex
from retrievers.errors import RetrievalError

Array = NDArray[np.float64]
SMALL = Policy(flat_limit=300, hnsw_limit=1000, outside_limit=100, exact_among=40)


def clustered(count: int, seed: int = 0, dimension: int = 24) -> Array:
    """Vectors around forty centres, as those of real texts lie."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(40, dimension))
    return centres[rng.integers(40, size=count)] + 0.5 * rng.normal(size=(count, dimension))


def index_of(vectors: Array, policy: Policy | None = None) -> VectorIndex:
    return VectorIndex.build([str(row) for row in range(len(vectors))], vectors, policy)


def exact(vectors: Array, query: Array, k: int, allowed: Any = None) -> list[str]:
    cosine = vectors @ query / np.linalg.norm(vectors, axis=1)
    if allowed is not None:
        cosine[~allowed] = -np.inf
    return [str(row) for row in np.argsort(-cosine)[:k]]


def recall(
    index: VectorIndex, vectors: Array, allowed: Any = None, ids: list[str] | None = None
) -> float:
    found = [
        len(
            {id_ for id_, _ in index.search(query, 10, ids)}
            & set(exact(vectors, query, 10, allowed))
        )
        for query in clustered(40, seed=3)
    ]
    return sum(found) / 400


def test_search_is_exact_cosine() -> None:
    rng = np.random.default_rng(0)
    vectors, query = rng.normal(size=(200, 16)) * 3, rng.normal(size=16)
    found = index_of(vectors).search(query, 10)
    assert [id_ for id_, _ in found] == exact(vectors, query, 10)
    cosine = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    assert np.allclose([score for _, score in found], np.sort(cosine)[::-1][:10], atol=1e-5)


def test_rows_stay_with_their_ids_through_overwrites_and_deletions() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(20, 8))
    index = index_of(vectors)
    index.remove(["3", "11", "nobody"])
    vectors[5] = rng.normal(size=8)
    index.put(["5"], vectors[[5]])
    assert len(index) == 18 and index.ids[-1] == "5"
    for row in set(range(20)) - {3, 11}:
        assert index.search(vectors[row], 1)[0][0] == str(row)
        unit = vectors[row] / np.linalg.norm(vectors[row])
        assert np.allclose(index.vectors([str(row)])[0], unit, atol=1e-6)


def test_many_changes_leave_what_a_fresh_index_would_hold() -> None:
    rng = np.random.default_rng(2)
    index, held = VectorIndex(), dict[str, Any]()
    for _ in range(120):
        ids = [str(i) for i in rng.integers(3000, size=60)]
        vectors = dict(zip(ids, rng.normal(size=(60, 8)), strict=True))
        index.put(list(vectors), np.stack(list(vectors.values())))
        held |= vectors
        gone = [str(i) for i in rng.integers(3000, size=40)]
        index.remove(gone)
        for id_ in gone:
            held.pop(id_, None)
    assert set(index.ids) == set(held) and len(index) == len(held) == len(index.ids)
    assert len(index.names) <= len(held) * 2
    names, query = list(held), rng.normal(size=8)
    best = exact(np.stack(list(held.values())), query, 10)
    assert [id_ for id_, _ in index.search(query, 10)] == [names[int(row)] for row in best]


def test_the_kind_of_index_follows_the_size() -> None:
    policy = Policy(flat_limit=10, hnsw_limit=20)
    assert [policy.kind_for(n) for n in (0, 10, 11, 20, 21)] == [
        "flat", "flat", "hnsw", "hnsw", "ivf",
    ]  # fmt: skip
    assert Policy(kind="ivf").kind_for(3) == "ivf"


@pytest.mark.parametrize(("count", "kind"), [(800, "hnsw"), (2500, "ivf")])
def test_an_approximate_index_finds_nearly_all_that_is_nearest(count: int, kind: Kind) -> None:
    vectors = clustered(count)
    index = index_of(vectors, SMALL)
    assert index.approximate is not None and index.approximate.kind == kind
    assert recall(index, vectors) > 0.93
    (best, cosine), *_ = index.search(vectors[7], 1)
    assert best == "7" and cosine == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("count", [800, 2500])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.6])
def test_a_filter_keeps_the_recall_and_lets_nothing_else_through(count: int, share: float) -> None:
    vectors = clustered(count)
    index = index_of(vectors, SMALL)
    allowed = np.random.default_rng(5).random(count) < share
    ids = [str(row) for row in np.flatnonzero(allowed)]
    assert {id_ for id_, _ in index.search(vectors[0], count, ids)} <= set(ids)
    assert recall(index, vectors, allowed, ids) > (0.999 if len(ids) <= 40 else 0.9)


def test_it_is_promoted_as_it_grows_and_new_vectors_are_found_at_once() -> None:
    vectors, index = clustered(1500), VectorIndex(SMALL)
    kinds: list[str] = []
    for at in range(0, 1500, 50):
        index.put([str(row) for row in range(at, at + 50)], vectors[at : at + 50])
        kinds.append(index.approximate.kind if index.approximate else "flat")
        assert index.search(vectors[at + 49], 1)[0][0] == str(at + 49)
    assert kinds[5] == "flat" and kinds[8] == "hnsw" and kinds[-1] == "ivf"
    assert kinds == sorted(kinds)
    assert recall(index, vectors) > 0.93


def test_removed_vectors_are_never_found_whatever_the_index() -> None:
    vectors = clustered(800)
    index = index_of(vectors, SMALL)
    gone = [str(row) for row in range(0, 800, 3)]
    index.remove(gone)
    live = np.arange(800) % 3 != 0
    assert {id_ for id_, _ in index.search(vectors[0], 800)}.isdisjoint(gone)
    assert recall(index, vectors, live) > 0.93


@pytest.mark.parametrize("count", [0, 30, 800, 2500])
def test_saved_and_loaded_it_finds_the_same_and_can_grow(tmp_path: Path, count: int) -> None:
    vectors = clustered(count + 1)[:count]
    index = index_of(vectors, SMALL)
    index.remove(["3", "5"])
    index.save(tmp_path / "index")
    loaded = VectorIndex.load(tmp_path / "index", SMALL)
    assert loaded.ids == index.ids
    query = clustered(1, seed=9)[0]
    assert loaded.search(query, 5) == index.search(query, 5)
    loaded.put(["new"], [query])
    loaded.put(["more"], [query])
    assert {id_ for id_, _ in loaded.search(query, 2)} == {"new", "more"}
    loaded.remove(["new"])
    assert loaded.search(query, 1)[0][0] == "more"


def test_a_mapped_index_is_never_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrievers.dense._MAPPED", 1)
    vectors = clustered(800)
    index_of(vectors, SMALL).save(tmp_path / "index")
    before = {file.name: file.read_bytes() for file in (tmp_path / "index").iterdir()}
    loaded = VectorIndex.load(tmp_path / "index", SMALL)
    assert recall(loaded, vectors) > 0.93
    more = clustered(400, seed=4)
    loaded.put([f"more{row}" for row in range(400)], more)
    loaded.put(["0"], -vectors[:1])
    assert loaded.search(more[9], 1)[0][0] == "more9" and loaded.search(vectors[0], 1)[0][0] != "0"
    assert {file.name: file.read_bytes() for file in (tmp_path / "index").iterdir()} == before


@pytest.mark.parametrize("name", ["vectors.npy", "ids.json", "approximate.faiss", "artefact.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "changed"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    index_of(clustered(500), SMALL).save(tmp_path / "index")
    file = tmp_path / "index" / name
    raw = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(raw[:-7])
    else:
        raw[len(raw) // 2] ^= 255
        file.write_bytes(raw)
    with pytest.raises(ArtefactError, match=r"index"):
        VectorIndex.load(tmp_path / "index", SMALL)


def test_another_version_is_refused(tmp_path: Path) -> None:
    index_of(clustered(3)).save(tmp_path / "index")
    seal = tmp_path / "index" / "artefact.json"
    seal.write_text(json.dumps({**json.loads(seal.read_text()), "version": 1}))
    with pytest.raises(ArtefactError, match="version 1, not vectors 2"):
        VectorIndex.load(tmp_path / "index")


def test_a_name_in_the_seal_cannot_leave_the_folder(tmp_path: Path) -> None:
    index_of(clustered(3)).save(tmp_path / "index")
    seal = tmp_path / "index" / "artefact.json"
    held = json.loads(seal.read_text())
    (tmp_path / "outside").write_bytes(b"x")
    held["files"]["../outside"] = (
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # sha256 of "x"
    )
    seal.write_text(json.dumps(held))
    with pytest.raises(ArtefactError, match="outside"):
        VectorIndex.load(tmp_path / "index")


def test_a_vector_of_another_length_is_refused_with_both_lengths() -> None:
    index = index_of(clustered(3))
    with pytest.raises(RetrievalError, match=r"32 numbers .* 24"):
        index.search([1.0] * 32, 1)
    with pytest.raises(RetrievalError, match=r"32 numbers .* 24"):
        index.put(["x"], [[1.0] * 32])


def test_a_vector_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(RetrievalError, match="not finite"):
        VectorIndex.build(["a"], [[1.0, float("nan")]])
