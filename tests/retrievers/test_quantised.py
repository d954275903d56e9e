"""Vectors at one byte or one bit: near the exact search, and the same after a save."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from retrievers.artefact import ArtefactError
from retrievers.dense import DenseIndex, VectorIndex
from retrievers.errors import RetrievalError
from retrievers.quantised import QuantisedIndex
from retrievers.ranking import Floats

Bits = Literal[1, 8]
BITS: tuple[Bits, ...] = (1, 8)


def clustered(count: int, dimension: int = 256, seed: int = 0) -> Floats:
    """Vectors around 40 centres, one number far larger than the others, as models make them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, dimension))
    rows = centres[rng.integers(0, 40, count)] + 0.6 * rng.standard_normal((count, dimension))
    rows[:, 3] += 6
    return rows.astype(np.float32)


@pytest.mark.parametrize(("bits", "least"), [(8, 0.97), (1, 0.95)])
def test_most_of_the_exact_neighbours_are_found(bits: Bits, least: float) -> None:
    vectors, ids = clustered(4000), [f"v{i}" for i in range(4000)]
    exact, quantised = VectorIndex.build(ids, vectors), QuantisedIndex.build(ids, vectors, bits)
    shared = 0
    noise = np.random.default_rng(1).standard_normal((50, vectors.shape[1]))
    for query in vectors[:50] + 0.6 * noise:
        wanted = dict(exact.search(query, 10))
        found = dict(quantised.search(query, 10))
        shared += len(wanted.keys() & found.keys())
        assert all(abs(found[id_] - wanted[id_]) < 0.01 for id_ in wanted.keys() & found.keys())
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert shared / 500 >= least


@pytest.mark.parametrize("bits", BITS)
def test_vectors_come_back_as_they_were_stored(bits: Bits) -> None:
    vectors = clustered(300)
    index = QuantisedIndex.build([str(i) for i in range(300)], vectors, bits)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    held = index.vectors(["7", "0", "299"])
    assert np.allclose(np.linalg.norm(held, axis=1), 1, atol=1e-5)
    assert np.einsum("nd,nd->n", held, units[[7, 0, 299]]).min() > 0.999


@pytest.mark.parametrize("bits", BITS)
def test_the_index_follows_what_is_put_and_removed(bits: Bits) -> None:
    vectors = clustered(500, seed=2)
    index: DenseIndex = QuantisedIndex.build([str(i) for i in range(400)], vectors[:400], bits)
    assert index.search(vectors[5], 1)[0][0] == "5"
    index.put(["new", "5"], vectors[[450, 451]])  # "5" is now another vector
    index.remove(["8", "never held"])
    assert len(index) == 400
    assert index.search(vectors[450], 1)[0][0] == "new"
    assert index.search(vectors[451], 1)[0][0] == "5"
    assert index.search(vectors[9], 1)[0][0] == "9"  # rows behind a gap keep their ids
    assert "8" not in dict(index.search(vectors[8], 400))
    assert len(index.search(vectors[8], 1000)) == 400


@pytest.mark.parametrize("bits", BITS)
def test_a_search_among_some_ids_scores_every_one_of_them(bits: Bits) -> None:
    vectors = clustered(1000, seed=3)
    index = QuantisedIndex.build([str(i) for i in range(1000)], vectors, bits)
    some = [str(i) for i in range(0, 1000, 7)]
    found = index.search(vectors[1], 5, among=[*some, "not held"])
    exact = VectorIndex.build([str(i) for i in range(1000)], vectors)
    assert [id_ for id_, _ in found] == [id_ for id_, _ in exact.search(vectors[1], 5, some)]
    assert index.search(vectors[1], 5, among=[]) == []


@pytest.mark.parametrize("bits", BITS)
def test_a_saved_index_finds_the_same_and_goes_on(bits: Bits, tmp_path: Path) -> None:
    vectors = clustered(600, seed=4)
    index = QuantisedIndex.build([str(i) for i in range(599)], vectors[:599], bits)
    index.save(tmp_path / "dense")
    loaded = QuantisedIndex.load(tmp_path / "dense")
    assert loaded.bits == bits and len(loaded) == 599
    assert loaded.search(vectors[30], 20) == index.search(vectors[30], 20)
    loaded.put(["last"], vectors[599:])
    assert loaded.search(vectors[599], 1)[0][0] == "last"
    file = tmp_path / "dense" / "codes.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtefactError, match=r"codes\.npy"):
        QuantisedIndex.load(tmp_path / "dense")


def test_an_empty_index_finds_nothing_and_a_strange_vector_is_refused() -> None:
    index = QuantisedIndex()
    assert index.search([1.0, 0.0], 3) == [] and len(index) == 0 and index.dimension is None
    assert index.vectors([]).shape == (0, 0)
    index.put(["a"], [[1.0, 0.0]])
    assert index.search([1.0, 0.0], 0) == []
    for act in (lambda: index.put(["b"], [[1.0]]), lambda: index.search([1.0], 1)):
        with pytest.raises(RetrievalError, match="do not fit an index of 2"):
            act()
    with pytest.raises(RetrievalError, match="not finite"):
        index.put(["b"], [[float("nan"), 0.0]])
    with pytest.raises(ValueError, match="bits"):
        QuantisedIndex(4)  # type: ignore[arg-type]  # what a caller without types may do
