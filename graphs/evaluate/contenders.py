"""The searches that are measured beside one another, over one index of the same documents."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from langchain_core.retrievers import BaseRetriever

from graphs.errors import UserError
from graphs.evaluate.beir import BEIR_ID

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    from graphs.console import Progress
    from retrievers.bm25 import BM25Index
    from retrievers.dense import VectorIndex
    from retrievers.ranking import Fetch

DEPTH: Final = 100  # results of every contender
OURS: Final = "ours"
SYSTEMS: Final = (OURS, "bm25", "dense", "ensemble", "plain_bm25")
PARAGRAPH_SYSTEMS: Final = (OURS, "words_bm25", "bm25", "dense", "ensemble")
_NO_DIVERSITY: Final = {"diversity": {"strength": 0}}
_NO_SMOOTHING: Final = {**_NO_DIVERSITY, "smoothing": {"share": 0}}
# Our search with one stage more each; all of them together are ours.
ABLATION: Final[Mapping[str, Mapping[str, Any]]] = {
    "fused by ranks": {**_NO_SMOOTHING, "rerank": {"depth": 0}, "fusion": {"method": "ranks"}},
    "fused by scores": {**_NO_SMOOTHING, "rerank": {"depth": 0}},
    "+ smoothing": {**_NO_DIVERSITY, "rerank": {"depth": 0}},
    "+ late interaction": _NO_DIVERSITY,
}
_WORD: Final = re.compile(r"\w+")


class Search(Protocol):
    """Gives the ids of up to `DEPTH` documents for a question, best first."""

    def __call__(self, question: str) -> list[str]: ...


@dataclass(frozen=True)
class Shared:
    """What all contenders search: the documents, their BM25 index and their vectors."""

    documents: "Sequence[Document]"
    fetch: "Fetch"
    lexical: "BM25Index"
    vectors: "VectorIndex"
    embeddings: "Embeddings"


def index_corpus(
    documents: "Sequence[Document]", embeddings: "Embeddings", progress: "Progress"
) -> Shared:
    """Index whole documents: no contender cuts them, so that rankings can be judged."""
    from retrievers.passages import MemoryPassages
    from retrievers.pipeline import index_documents

    progress("indexing", 0, len(documents))
    lexical, vectors = index_documents(documents, embeddings)
    progress("indexing", len(documents), len(documents))
    return Shared(documents, MemoryPassages(documents).get, lexical, vectors, embeddings)


def build_contender(name: str, shared: Shared) -> Search:
    """The search called `name`.

    `bm25` and `dense` are the two halves of ours alone, and `ensemble` is LangChain's
    EnsembleRetriever over just those, with its own defaults (it is told where an id stands).
    `plain_bm25` counts lower-cased words: what BM25 gives without an analysis of the language.
    `words_bm25` counts what stands between spaces, which is LangChain's default.

    Raises UserError for another name, or where LangChain's part is not installed.
    """
    return _builder(name)(shared)


def check_contenders(names: Sequence[str]) -> None:
    """Tell before the work, by UserError, which of the searches cannot be built."""
    for name in names:
        _builder(name)
        if name == "ensemble":
            _ensemble_class()


def _builder(name: str) -> "Callable[[Shared], Search]":
    builders: Mapping[str, Callable[[Shared], Search]] = {
        OURS: _ours,
        "bm25": lambda shared: _asked(_bm25(shared)),
        "dense": lambda shared: _asked(_dense(shared)),
        "ensemble": _ensemble,
        "plain_bm25": lambda shared: _asked(_bm25_of(shared, plain_words)),
        "words_bm25": lambda shared: _asked(_bm25_of(shared, str.split)),
        **{stage: partial(_ours, values=values) for stage, values in ABLATION.items()},
    }
    if name not in builders:
        raise UserError(f"there is no system {name!r}: choose among {', '.join(builders)}")
    return builders[name]


def plain_words(text: str) -> list[str]:
    """Lower-cased words, each as it stands."""
    return _WORD.findall(text.lower())


def _ours(shared: Shared, values: Mapping[str, Any] | None = None) -> Search:
    """Our search as a library has it by default, or with the stages that `values` set."""
    from retrievers.config import parse_config
    from retrievers.pipeline import HybridRetriever, default_rerankers

    retriever = HybridRetriever(
        lexical=shared.lexical,
        vectors=shared.vectors,
        fetch=shared.fetch,
        embeddings=shared.embeddings,
        config=parse_config(values),
        rerankers=default_rerankers(shared.embeddings, shared.lexical),
        k=DEPTH,
    )
    return _asked(retriever)


def _bm25(shared: Shared) -> BaseRetriever:
    from retrievers.bm25 import BM25Retriever

    return BM25Retriever(index=shared.lexical, docs=list(shared.documents), k=DEPTH)


def _bm25_of(shared: Shared, tokenizer: Callable[[str], list[str]]) -> BaseRetriever:
    from retrievers.bm25 import BM25Retriever

    return BM25Retriever.from_documents(shared.documents, tokenizer=tokenizer, k=DEPTH)


def _dense(shared: Shared) -> BaseRetriever:
    from retrievers.dense import DenseRetriever

    return DenseRetriever(
        index=shared.vectors, fetch=shared.fetch, embeddings=shared.embeddings, k=DEPTH
    )


def _ensemble_class() -> Any:
    try:
        from langchain_classic.retrievers.ensemble import EnsembleRetriever
    except ImportError as error:
        raise UserError(
            "LangChain's EnsembleRetriever is not installed: pip install 'deerstalker[evaluate]',"
            " or leave `ensemble` out of --systems"
        ) from error
    return EnsembleRetriever


def _ensemble(shared: Shared) -> Search:
    halves = [_bm25(shared), _dense(shared)]
    return _asked(_ensemble_class()(retrievers=halves, id_key=BEIR_ID))


def _asked(retriever: BaseRetriever) -> Search:
    def search(question: str) -> list[str]:
        return [document.id or "" for document in retriever.invoke(question)[:DEPTH]]

    return search
