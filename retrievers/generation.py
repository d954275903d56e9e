"""The search structures of an index: one folder for each state of the store, never changed.

`generations/<state>/` holds `lexical/` (BM25) and `dense/` (vectors), each checked by checksums.
The state in the store names the folder in use, so a new one takes over in one transaction.
"""

import itertools
import shutil
from pathlib import Path
from typing import Final

import numpy as np

from retrievers.artefact import ArtefactError
from retrievers.bm25 import BM25Index
from retrievers.corpus import Corpus, vector_of
from retrievers.dense import VectorIndex
from retrievers.errors import IndexStoreError
from retrievers.store_errors import store_errors

_SLAB: Final = 4096  # passages whose vectors are handed on at a time


def generation_folder(corpus: Corpus, state: str) -> Path:
    """Where the search structures of a state are."""
    return corpus.folder / "generations" / state[:16]


def build_generation(
    corpus: Corpus, state: str, with_vectors: bool = True
) -> tuple[BM25Index, VectorIndex]:
    """Make the search structures from the store, write them, and return them.

    Without vectors, which another engine then holds, the vector index is empty.

    Raises:
        IndexStoreError: they cannot be written, or a passage has no vector.
    """
    ids: list[str] = []
    tokens: list[list[str]] = []
    same: dict[str, str] = {}  # each term once in memory, however many passages hold it
    dense = VectorIndex()
    rows = iter(corpus.index_rows())
    while slab := list(itertools.islice(rows, _SLAB)):
        for id_, terms, vector in slab:
            if vector is None:
                raise IndexStoreError(f"passage {id_} of {corpus.folder} has no vector")
            tokens.append([same.setdefault(term, term) for term in terms])
        ids += [id_ for id_, _, _ in slab]
        if with_vectors:
            dense.put(ids[-len(slab) :], np.stack([vector_of(blob) for _, _, blob in slab if blob]))
    lexical = BM25Index.build(ids, tokens)
    folder = generation_folder(corpus, state)
    with store_errors(corpus.folder):
        shutil.rmtree(folder, ignore_errors=True)
        lexical.save(folder / "lexical")
        if with_vectors:
            dense.save(folder / "dense")
    return lexical, dense


def load_generation(
    corpus: Corpus, state: str, with_vectors: bool = True
) -> tuple[BM25Index, VectorIndex]:
    """Read the search structures of a state; without vectors the vector index is empty.

    Raises:
        ArtefactError: a part is missing or damaged; `build_generation` is the mend.
    """
    folder = generation_folder(corpus, state)
    lexical = BM25Index.load(folder / "lexical")
    if not with_vectors:
        return lexical, VectorIndex()
    dense = VectorIndex.load(folder / "dense")
    if lexical.ids != dense.ids:
        raise ArtefactError(f"the parts of {folder} do not belong together")
    return lexical, dense


def drop_other_generations(corpus: Corpus, state: str) -> None:
    """Delete the search structures of every other state, and what a killed process left."""
    for folder in (corpus.folder / "generations").glob("*"):
        if folder.name != state[:16]:
            shutil.rmtree(folder, ignore_errors=True)
