"""Lexical search: BM25 over tokens, with scores that can be compared between queries.

`BM25Index` is arrays and a vocabulary (bm25s does the arithmetic); `BM25Retriever` makes a
LangChain retriever of it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field
from typing_extensions import override

from retrievers.artefact import ArtefactError, read_artefact, write_artefact
from retrievers.ranking import (
    Floats,
    Tokenizer,
    default_tokenizer,
    searchable_text,
    top_rows,
    with_scores,
)

KIND, VERSION = "bm25", 1
K1, B = 1.2, 0.75


class BM25Index:
    """BM25 scores of N token lists; row i answers for `ids[i]`."""

    def __init__(self, ids: Sequence[str], scorer: Any | None) -> None:
        self.ids = list(ids)
        self.rows = {id_: row for row, id_ in enumerate(self.ids)}
        self._scorer = scorer  # None when no row holds a token
        vocabulary: dict[str, int] = scorer.vocab_dict if scorer is not None else {}
        # bm25s adds "" as one id beyond its arrays; only tokens with a column may be scored.
        columns = len(scorer.scores["indptr"]) - 1 if scorer is not None else 0
        self._columns = {token: at for token, at in vocabulary.items() if at < columns}

    @classmethod
    def build(cls, ids: Sequence[str], tokens: Sequence[Sequence[str]]) -> Self:
        """Index `tokens[i]` under `ids[i]`; the vocabulary is in order of first appearance."""
        if len(ids) != len(tokens):
            raise ValueError(f"{len(ids)} ids for {len(tokens)} token lists")
        vocabulary: dict[str, int] = {}
        rows = [[vocabulary.setdefault(t, len(vocabulary)) for t in row] for row in tokens]
        if not vocabulary:
            return cls(ids, None)
        import bm25s

        scorer = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
        scorer.index((rows, vocabulary), create_empty_token=False, show_progress=False)
        return cls(ids, scorer)

    def __len__(self) -> int:
        return len(self.ids)

    def scores(self, query: Sequence[str]) -> Floats:
        """BM25 score of every row for the tokens of a query, (N,)."""
        known = [self._columns[token] for token in query if token in self._columns]
        if self._scorer is None or not known:
            return np.zeros(len(self.ids), dtype=np.float32)
        scores: Floats = self._scorer.get_scores_from_ids(known)
        return scores

    def idf(self, tokens: Sequence[str]) -> Floats:
        """Inverse document frequency of each token, (T,); a token that no row holds is rarest."""
        rows = len(self.ids)
        frequency = (
            np.diff(self._scorer.scores["indptr"]) if self._scorer is not None else np.zeros(0)
        )
        held = np.asarray(
            [frequency[self._columns[t]] if t in self._columns else 0 for t in tokens]
        )
        idf: Floats = np.log1p((rows - held + 0.5) / (held + 0.5)).astype(np.float32)
        return idf

    def ceiling(self, query: Sequence[str]) -> float:
        """The score no row can pass for this query: the sum of its tokens' idf.

        A token that no row holds counts too, so score / ceiling says how much of what was asked
        for a row holds, from 0 to 1.
        """
        return float(self.idf(query).sum(dtype=np.float64)) if query else 0.0

    def save(self, folder: Path) -> None:
        """Write the index to `folder`, replacing what is there in one step."""

        def fill(new: Path) -> None:
            (new / "ids.json").write_text(json.dumps(self.ids), encoding="utf-8")
            if self._scorer is not None:
                self._scorer.save(new, show_progress=False)

        write_artefact(folder, KIND, VERSION, fill, rows=len(self), empty=self._scorer is None)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an index that `save` wrote.

        Raises:
            ArtefactError: it is missing, damaged, or of another version.
        """
        facts = read_artefact(folder, KIND, VERSION)
        ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        if facts["empty"]:
            return cls(ids, None)
        import bm25s

        scorer = bm25s.BM25.load(folder, load_corpus=False, show_progress=False)
        if scorer.scores["num_docs"] != len(ids):
            raise ArtefactError(f"{folder} holds {scorer.scores['num_docs']} rows, {len(ids)} ids")
        return cls(ids, scorer)


class BM25Retriever(BaseRetriever):
    """Lexical search over documents held in memory; metadata of a hit holds `bm25`."""

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
        tokens = [tokenizer(searchable_text(document)) for document in documents]
        index = BM25Index.build([document.id or "" for document in documents], tokens)
        return cls(index=index, docs=list(documents), tokenizer=tokenizer, k=k)

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        scores = self.index.scores(self.tokenizer(query))  # (N,)
        rows = top_rows(scores, self.k if k is None else k)
        return [with_scores(self.docs[row], bm25=float(scores[row])) for row in rows]
