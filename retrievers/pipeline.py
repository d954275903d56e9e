"""The whole search as one object: plan, BM25 and dense ranking, fusion, reranking, diversity.

`HybridRetriever` is the LangChain class. `Library` is what an application holds: it searches with
several queries at once and gives any passage back by its id.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import override

from retrievers.bm25 import BM25Index
from retrievers.config import SearchConfig
from retrievers.cutoff import RelevanceCutoff
from retrievers.dense import DenseIndex, VectorIndex, embedding_name, unit_rows
from retrievers.filters import FilterError, Where
from retrievers.passages import MemoryPassages, Passages
from retrievers.query.plan import Query, QueryPlan, QueryPlanner
from retrievers.ranking import (
    Fetch,
    Tokenizer,
    default_tokenizer,
    search_terms,
    searchable_text,
    with_scores,
)
from retrievers.readable import Reading, reading_of
from retrievers.stages import (
    Asked,
    Scored,
    diversify,
    fuse,
    rank_vectors,
    rank_words,
    rerank,
    smooth,
)
from retrievers.trace import Recorder, SearchTrace, plan_values

if TYPE_CHECKING:
    from retrievers.indexing import IndexReport, Progress
    from retrievers.token_vectors import TokenEncoder


class HybridRetriever(BaseRetriever):
    """BM25 and dense search, fused, judged again, made diverse, cut off.

    Metadata of a hit holds `bm25` (score), `coverage` (BM25 score over the highest possible one),
    `dense` (cosine with the question) and `fused` (what it is ranked by); with several questions
    the first three are the best over them. `config` sets the stages. Without `rerankers` nothing
    is judged again; `finishers` work on the final list, such as near-duplicate removal. Where the
    embedding model cannot read a question (`reading`), all that works by vectors steps back.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    lexical: BM25Index = Field(repr=False)
    vectors: SkipValidation[DenseIndex] = Field(repr=False)
    fetch: Fetch = Field(repr=False)
    embeddings: Embeddings = Field(repr=False)
    tokenizer: Tokenizer = Field(default_factory=default_tokenizer, repr=False)
    k: int = 8
    config: SearchConfig = Field(default_factory=SearchConfig)
    planner: QueryPlanner | None = Field(default=None, description="None: the question alone")
    rerankers: list[BaseDocumentCompressor] = Field(default_factory=list)
    finishers: list[BaseDocumentCompressor] = Field(default_factory=list)
    cutoff: RelevanceCutoff | None = None
    reading: Reading | None = Field(
        default=None, description="what the embedding model reads; None: what was measured of it"
    )
    where: Where | None = Field(default=None, description="filter on metadata, for every question")
    select: Callable[[Where], Sequence[str]] | None = Field(
        default=None, repr=False, description="ids that a filter lets through; None: none can"
    )

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        embeddings: Embeddings,
        *,
        tokenizer: Tokenizer | None = None,
        **options: Any,
    ) -> Self:
        """A retriever over `documents` in memory; each needs an id. `options` are its fields."""
        held = MemoryPassages(documents)
        lexical, vectors = index_documents(documents, embeddings, tokenizer)
        given = {"fetch": held.get, "select": held.select, **options}
        return cls(
            lexical=lexical,
            vectors=vectors,
            embeddings=embeddings,
            tokenizer=tokenizer or default_tokenizer(),
            **given,
        )

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return self.search_many([query], k)

    def search_many(self, queries: Sequence[str], k: int | None = None) -> list[Document]:
        """The best passages over all `queries`, which count alike in the fusion."""
        return self._search(queries, k, Recorder(keep=False))[0]

    def traced(self, question: str, k: int | None = None) -> tuple[list[Document], SearchTrace]:
        """The best passages for a question, and what every stage did."""
        recorder = Recorder()
        found, plan = self._search([question], k, recorder)
        values = plan_values(plan) if plan is not None else {}
        return found, SearchTrace(question, values, tuple(recorder.stages))

    def _search(
        self, questions: Sequence[str], k: int | None, recorder: Recorder
    ) -> tuple[list[Document], QueryPlan | None]:
        texts = [text for text in dict.fromkeys(questions) if text.strip()]
        limit = self.k if k is None else k
        if not texts or not len(self.lexical) or limit <= 0:
            return [], None
        plans = self._plan(texts, recorder)
        among = self._allowed(plans, recorder)
        asked = self._asked(plans, recorder)
        config = self.config.read_in_part(self._read.share(" ".join(texts)))
        fused = self._candidates(asked, among, limit, config, recorder)
        if self.rerankers and config.rerank.depth and config.rerank.weight:
            fused = self._reranked(fused, " ".join(texts), config, recorder)
        with recorder.stage("diversity") as stage:
            chosen = diversify(fused, limit, self.vectors.vectors, config)
            stage.rank("fused", chosen)
        found = self._documents(chosen, asked)
        for finisher in [*self.finishers, *([self.cutoff] if self.cutoff else [])]:
            with recorder.stage(type(finisher).__name__) as stage:
                found = list(finisher.compress_documents(found, " ".join(texts)))
                stage.items = [(document.id or "", {}) for document in found]
        return found, plans[0]

    def _plan(self, texts: Sequence[str], recorder: Recorder) -> list[QueryPlan]:
        with recorder.stage("plan") as stage:
            planner = self.planner or QueryPlanner()
            plans = [planner.plan(text) for text in texts]
            stage.notes = [note for plan in plans for note in plan.notes] + [
                f"{query.kind}: {query.text}" for plan in plans for query in plan.queries
            ]
        return plans

    def _allowed(self, plans: Sequence[QueryPlan], recorder: Recorder) -> list[str] | None:
        """The ids that the filters let through; None where there is no filter.

        With several questions a passage that one of them may see is let through.
        """
        asked = [plan.where for plan in plans if plan.where]
        parts: list[Where] = [self.where] if self.where else []
        if asked and len(asked) == len(plans):
            parts.append(asked[0] if len(asked) == 1 else {"$or": asked})
        if not parts or (self.select is None and not self.where):
            return None
        if self.select is None:
            raise FilterError("this search cannot filter: give it `select`, or leave `where` out")
        with recorder.stage("filter") as stage:
            ids = list(self.select(parts[0] if len(parts) == 1 else {"$and": parts}))
            stage.notes = [f"{len(ids)} passages pass {parts}"]
        return ids if ids or self.where else None  # what a question seemed to say is no demand

    @cached_property
    def _known(self) -> Reading:
        return reading_of(self.embeddings)

    @property
    def _read(self) -> Reading:
        return self._known if self.reading is None else self.reading

    def _asked(self, plans: Sequence[QueryPlan], recorder: Recorder) -> list[Asked]:
        with recorder.stage("embed") as stage:
            queries = [query for plan in plans for query in plan.queries]
            shares = [self._read.share(query.text) for query in queries]
            stage.notes = [
                f"the embedding model reads {share:.0%} of: {query.text}"
                for query, share in zip(queries, shares, strict=True)
                if share < 1
            ]
            return [self._one(query, share) for query, share in zip(queries, shares, strict=True)]

    def _one(self, query: Query, share: float) -> Asked:
        dense = self._read.dense_share(share)
        embedded = query.dense and self.config.dense.weight * dense > 0
        point = unit_rows(self.embeddings.embed_query(query.text))[0] if embedded else None
        terms = tuple(self.tokenizer(query.text))
        return Asked(query, terms, point, dense, self._read.phrase_share(share))

    def _candidates(
        self,
        asked: Sequence[Asked],
        among: Sequence[str] | None,
        k: int,
        config: SearchConfig,
        recorder: Recorder,
    ) -> Scored:
        with recorder.stage("words") as stage:
            depth = max(k, config.lexical.candidates)
            words = rank_words(asked, self.lexical, config, among, depth)
            stage.rank("bm25", words.merged() if recorder.keep else [])
        with recorder.stage("vectors") as stage:
            depth = max(k, config.dense.candidates)
            near = rank_vectors(asked, self.vectors, config, among, depth)
            stage.rank("dense", near.merged() if recorder.keep else [])
        with recorder.stage("fusion") as stage:
            fused = fuse(words, near, self.lexical, self.vectors.vectors, config.fusion)
            stage.rank("fused", fused)
        if config.smoothing.share:
            with recorder.stage("smoothing") as stage:
                fused = smooth(fused, self.vectors.vectors, config.smoothing)
                stage.rank("fused", fused)
        return fused

    def _reranked(
        self, fused: Scored, question: str, config: SearchConfig, recorder: Recorder
    ) -> Scored:
        stage = config.rerank
        with recorder.stage("rerank") as found:
            documents = self.fetch([id_ for id_, _ in fused[: stage.depth]])
            ranked, scores = rerank(fused, documents, question, self.rerankers, stage)
            found.items = [
                (id_, {"fused": share, **scores[id_]}) for id_, share in ranked if id_ in scores
            ]
        return ranked

    def _documents(self, chosen: Scored, asked: Sequence[Asked]) -> list[Document]:
        """The passages chosen, each with its scores against the questions as they were asked."""
        if not chosen:
            return []
        ids = [id_ for id_, _ in chosen]
        originals = [one for one in asked if one.query.kind == "question"]
        bm25 = np.stack([self.lexical.scores_of(one.terms, ids) for one in originals])  # (Q, k)
        ceiling = np.asarray([[self.lexical.ceiling(o.terms) or 1.0] for o in originals])
        points = [one.point for one in originals if one.point is not None]
        dense = self.vectors.vectors(ids) @ np.stack(points).T if points else None  # (k, Q)
        scores = {
            id_: {
                "bm25": float(bm25[:, at].max()),
                "coverage": float((bm25[:, at] / ceiling[:, 0]).max()),
                **({"dense": float(dense[at].max())} if dense is not None else {}),
                "fused": share,
            }
            for at, (id_, share) in enumerate(chosen)
        }
        return [with_scores(d, **scores[d.id or ""]) for d in self.fetch(ids)]


def default_rerankers(
    embeddings: Embeddings, lexical: BM25Index, *, encoder: "TokenEncoder | None" = None
) -> list[BaseDocumentCompressor]:
    """Late interaction where the embedding model gives a vector for each token, else none.

    An `encoder` that reads the same passages elsewhere is shared: each is then encoded once.
    """
    model = getattr(embeddings, "embeddings", embeddings)  # behind a cache of vectors
    if not hasattr(model, "tokens_and_vectors"):
        return []
    from retrievers.rerank.late_interaction import LateInteractionReranker

    def idf(tokens: Sequence[str]) -> list[float]:
        return [float(value) for value in lexical.idf(tokens)]

    if encoder is None:
        return [LateInteractionReranker(embeddings=model, idf=idf)]
    return [LateInteractionReranker(embeddings=model, idf=idf, encoder=encoder, text=_passage)]


def _passage(document: Document) -> str:
    return document.page_content


def index_documents(
    documents: Sequence[Document], embeddings: Embeddings, tokenizer: Tokenizer | None = None
) -> tuple[BM25Index, VectorIndex]:
    """Lexical and vector index of passages that all have an id."""
    tokenizer = tokenizer or default_tokenizer()
    ids = [document.id or "" for document in documents]
    lexical = BM25Index.build(ids, [search_terms(document, tokenizer) for document in documents])
    vectors = VectorIndex()
    if documents:
        texts = [searchable_text(document) for document in documents]
        vectors.put(ids, embeddings.embed_documents(texts))
    return lexical, vectors


class Library:
    """Documents ready for search: find passages, read them by id, read around them."""

    def __init__(
        self,
        retriever: HybridRetriever,
        passages: Passages,
        report: "IndexReport | None" = None,
    ) -> None:
        self.retriever = retriever
        self.report = report  # what the last update of the index did; None in memory
        self._passages = passages

    @classmethod
    def from_documents(
        cls, documents: Sequence[Document], embeddings: Embeddings, **options: Any
    ) -> Self:
        """A library over passages in memory; `options` are fields of `HybridRetriever`."""
        passages = MemoryPassages(documents, embedding_name(embeddings))
        return cls(HybridRetriever.from_documents(documents, embeddings, **options), passages)

    def search(self, queries: Sequence[str], k: int = 8) -> list[Document]:
        """The `k` best passages over all `queries`, with their scores in the metadata."""
        return self.retriever.search_many(queries, k)

    def search_traced(self, question: str, k: int = 8) -> tuple[list[Document], SearchTrace]:
        """The `k` best passages for one question, and what every stage of the search did."""
        return self.retriever.traced(question, k)

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The passages of `ids`, in that order; ids no longer held are left out."""
        return self._passages.get(ids)

    def neighbours(self, id_: str, before: int = 1, after: int = 1) -> list[Document]:
        """The passages just before and after `id_` in its document, without itself."""
        return self._passages.neighbours(id_, before, after)

    def idf(self, tokens: Sequence[str]) -> list[float]:
        """How rare each search term is in these documents (natural log; higher is rarer)."""
        return [float(value) for value in self.retriever.lexical.idf(tokens)]

    def manifest(self) -> dict[str, Any]:
        """`index` (hash of the content), `documents`, `passages`, `embedding`."""
        return self._passages.manifest()

    def close(self) -> None:
        """Give back open files; the next use opens them again."""
        self._passages.close()


def open_library(
    index_dir: Path,
    docs: Sequence[Path],
    embeddings: Embeddings,
    progress: "Progress | None" = None,
    served: str | None = None,
    **options: Any,
) -> Library:
    """Bring the index in `index_dir` up to date with `docs` and open it for search.

    Args:
        progress: called with a stage, how much of it is done, and its total.
        served: address of an engine that holds the vectors (see `retrievers.vector_server`).
        options: fields of `HybridRetriever`, such as `config` or `cutoff`.

    Raises:
        RetrievalError: a path of `docs` is missing or holds no readable file.
        IndexStoreError: the index folder cannot be written, or another process keeps it.
    """
    from retrievers.corpus import Corpus
    from retrievers.indexing import open_index

    corpus = Corpus(index_dir)
    report, lexical, vectors = open_index(corpus, docs, embeddings, progress, vectors=served)
    retriever = HybridRetriever(
        lexical=lexical, vectors=vectors, fetch=corpus.get, embeddings=embeddings, **options
    )
    return Library(retriever, corpus, report)
