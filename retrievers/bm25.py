"""Lexical search: BM25 over tokens, with scores that can be compared between queries.

`BM25Index` joins a vocabulary to the arrays of `retrievers.postings`; `BM25Retriever` makes a
LangChain retriever of it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Self, TypeAlias

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field
from typing_extensions import override

from retrievers.artefact import ArtefactError, read_artefact, write_artefact
from retrievers.postings import Longs, Postings, inverse_frequency
from retrievers.ranking import (
    Floats,
    Tokenizer,
    default_tokenizer,
    search_terms,
    top_rows,
    with_scores,
)

KIND, VERSION = "bm25", 2
# Chosen by `python -m benchmarks.lexical tune` on training questions alone: see docs/LOG.md.
K1, B = 1.2, 0.75
PHRASE: Final = 0.2  # what neighbours in the question add, as a share of a term's weight
DEPTH: Final = 50  # best passages among which neighbours are looked for, at least
Terms: TypeAlias = Sequence[str] | Mapping[str, float]


class BM25Index:
    """BM25 scores of N token lists; row i answers for `ids[i]`.

    A query is a list of tokens, where a repeated one counts again, or a weight for each token.
    """

    def __init__(self, ids: Sequence[str], tokens: Sequence[str], postings: Postings) -> None:
        self.ids = list(ids)
        self.tokens = list(tokens)  # of the vocabulary; token i is column i of the postings
        self._postings = postings
        self._columns = {token: column for column, token in enumerate(self.tokens)}

    @classmethod
    def build(
        cls, ids: Sequence[str], tokens: Iterable[Sequence[str]], *, k1: float = K1, b: float = B
    ) -> Self:
        """Index the token lists, in the order of `ids`; the vocabulary is in that order too."""
        vocabulary: dict[str, int] = {}
        number = vocabulary.setdefault
        columns = ([number(token, len(vocabulary)) for token in row] for row in tokens)
        postings = Postings.build(columns, k1, b)
        if len(ids) != len(postings):
            raise ValueError(f"{len(ids)} ids for {len(postings)} token lists")
        return cls(ids, list(vocabulary), postings)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each id."""
        return {id_: row for row, id_ in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def scores(self, query: Terms) -> Floats:
        """BM25 score of every row for the terms of a query, (N,)."""
        return self._postings.scores(self._known(query))

    def scores_of(self, query: Terms, ids: Sequence[str]) -> Floats:
        """BM25 score of the passages `ids` alone, (len(ids),); every id must be held."""
        return self._postings.scores_of(self._known(query), self._at(ids))

    def top(
        self,
        query: Terms,
        k: int,
        *,
        among: Sequence[str] | None = None,
        phrase: float = PHRASE,
    ) -> list[tuple[str, float]]:
        """The `k` best passages that hold a term of the query, best first, and their scores.

        Args:
            among: look at these ids alone; ones that are not held are ignored.
            phrase: how much the neighbours in a list of tokens add where they are neighbours in
                a passage too; 0 is plain BM25. It reorders the best `max(2 k, 50)`.
        """
        rows, scores = self.best(query, k, among=among, phrase=phrase)
        return [(self.ids[row], float(score)) for row, score in zip(rows, scores, strict=True)]

    def best(
        self, query: Terms, k: int, *, among: Sequence[str] | None = None, phrase: float = PHRASE
    ) -> tuple[Longs, Floats]:
        """What `top` gives as rows (k,) and scores (k,)."""
        phrase = 0.0 if isinstance(query, Mapping) or k <= 0 else phrase
        depth = max(2 * k, DEPTH) if phrase else k
        rows, scores = self._first(self._known(query), depth, among)
        if phrase:
            known = [self._columns[token] for token in query if token in self._columns]
            scores = scores + np.float32(phrase) * self._postings.phrases(known, rows)
        order = np.lexsort((rows, -scores))[: max(k, 0)]
        return rows[order], scores[order]

    def terms(self, id_: str) -> list[str]:
        """The tokens of a passage in their order."""
        row = self.rows[id_]
        ends = self._postings.ends
        return [self.tokens[at] for at in self._postings.sequence[ends[row] : ends[row + 1]]]

    def frequency(self, tokens: Sequence[str]) -> Longs:
        """How many passages hold each token, (T,)."""
        held = np.zeros(len(tokens), dtype=np.int64)
        known = [at for at, token in enumerate(tokens) if token in self._columns]
        held[known] = self._postings.held_by([self._columns[tokens[at]] for at in known])
        return held

    def idf(self, tokens: Sequence[str]) -> Floats:
        """Inverse document frequency of each token, (T,); a token that no row holds is rarest."""
        return inverse_frequency(len(self.ids), self.frequency(tokens))

    def ceiling(self, query: Sequence[str]) -> float:
        """The score no row can pass for this query: the sum of its tokens' idf.

        A token that no row holds counts too, so score / ceiling says how much of what was asked
        for a row holds, from 0 to 1. What `top` adds for phrases is not part of it.
        """
        return float(self.idf(query).sum(dtype=np.float64)) if query else 0.0

    def save(self, folder: Path) -> None:
        """Write the index to `folder`, replacing what is there in one step."""

        def fill(new: Path) -> None:
            (new / "ids.json").write_text(json.dumps(self.ids), encoding="utf-8")
            (new / "tokens.json").write_text(json.dumps(self.tokens), encoding="utf-8")
            self._postings.save(new)

        facts = {"rows": len(self), "k1": self._postings.k1, "b": self._postings.b}
        write_artefact(folder, KIND, VERSION, fill, **facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open an index that `save` wrote; its arrays are mapped, not read.

        Raises:
            ArtefactError: it is missing, damaged, or of another version.
        """
        facts = read_artefact(folder, KIND, VERSION)
        ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        tokens = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
        postings = Postings.load(folder, facts["k1"], facts["b"])
        if len(postings) != len(ids):
            raise ArtefactError(f"{folder} holds {len(postings)} rows, {len(ids)} ids")
        return cls(ids, tokens, postings)

    def _known(self, query: Terms) -> dict[int, float]:
        """The columns of the tokens that some row holds, and how much each counts."""
        weights = query if isinstance(query, Mapping) else Counter(query)
        return {
            self._columns[token]: float(weight)
            for token, weight in weights.items()
            if token in self._columns
        }

    def _at(self, ids: Sequence[str]) -> Longs:
        return np.asarray([self.rows[id_] for id_ in ids], dtype=np.int64)

    def _first(
        self, query: Mapping[int, float], k: int, among: Sequence[str] | None
    ) -> tuple[Longs, Floats]:
        """The best rows above zero with their scores, of all rows or of `among`."""
        if among is None:
            return self._postings.top(query, k)
        rows = np.unique(self._at([id_ for id_ in among if id_ in self.rows]))
        scores = self._postings.scores_of(query, rows)
        best = [at for at in top_rows(scores, k) if scores[at] > 0]
        return rows[best], scores[best]


class BM25Retriever(BaseRetriever):
    """Lexical search over documents held in memory; metadata of a hit holds `bm25`.

    A document that holds no term of the query is not a hit, so there may be fewer than `k`.
    """

    index: BM25Index = Field(repr=False)
    docs: list[Document] = Field(repr=False)
    tokenizer: Tokenizer = Field(default_factory=default_tokenizer, repr=False)
    k: int = 4

    @classmethod
    def from_documents(
        cls, documents: Sequence[Document], *, tokenizer: Tokenizer | None = None, k: int = 4
    ) -> Self:
        """Index `documents`; `tokenizer` serves them and the queries alike."""
        tokenizer = tokenizer or default_tokenizer()
        ids = [document.id or "" for document in documents]
        index = BM25Index.build(ids, (search_terms(document, tokenizer) for document in documents))
        return cls(index=index, docs=list(documents), tokenizer=tokenizer, k=k)

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        found = self.index.best(self.tokenizer(query), self.k if k is None else k)
        return [
            with_scores(self.docs[row], bm25=float(score))
            for row, score in zip(*found, strict=True)
        ]
