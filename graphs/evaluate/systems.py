"""What is measured: the research graph, quoting without a model, and the plain LangChain chain."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from langchain_core.documents import Document

from graphs.evaluate.refusals import is_refusal
from graphs.evaluate.scoring import Cited, Passage, Reply, Sentence
from llm_core.errors import ContextBudgetError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

    from agents.notes import SearchNote
    from agents.result import Citation, ResearchResult
    from graphs.research import ResearchGraph
    from retrievers.pipeline import Library

Lookup = Callable[[Sequence[str]], list[Document]]

QUOTED_SENTENCES: Final = 2
QUOTED_FROM: Final = 8  # passages
CHAIN_PASSAGES: Final = 4
# The prompt that LangChain's own tutorials stuff passages into (hub: rlm/rag-prompt).
CHAIN_PROMPT: Final = (
    "You are an assistant for question-answering tasks. Use the following pieces of retrieved"
    " context to answer the question. If you don't know the answer, just say that you don't know."
    " Use three sentences maximum and keep the answer concise.\n"
    "Question: {question}\nContext: {context}\nAnswer:"
)


class System(Protocol):
    """Answers questions over one corpus."""

    def ask(self, question: str) -> Reply:
        """The reply, with the passages it was made from."""


class ResearchSystem:
    """The compiled research graph; `lookup` gives passages by id."""

    def __init__(self, graph: "ResearchGraph", lookup: Lookup, seed: int) -> None:
        self._graph = graph
        self._lookup = lookup
        self._seed = seed

    def ask(self, question: str) -> Reply:
        """Run the graph to its end and read what it found on the way."""
        state: Any = self._graph.invoke(
            {"question": question, "seed": self._seed},
            output_keys=["result", "gathered", "notes"],
        )
        result: ResearchResult = state["result"]
        notes: list[SearchNote] = state.get("notes") or []
        gathered = state.get("gathered")
        found = dict.fromkeys(ref.id for note in notes for ref in note.passages)
        return Reply(
            answer=result.answer,
            abstained=result.abstained,
            retrieved=[_passage(document) for document in self._lookup(list(found))],
            short_answer=result.short_answer,
            citations=[self._cited(citation) for citation in result.citations],
            sentences=[Sentence(tuple(s.citation_ids), s.composed) for s in result.support],
            probability=None if gathered is None else gathered.answerable,
            stopped=result.stopped,
        )

    def _cited(self, citation: "Citation") -> Cited:
        held = self._lookup([citation.passage_id])
        return Cited(
            id=citation.id,
            file=citation.file,
            page=citation.page,
            start=citation.start,
            end=citation.end,
            quote=citation.quote,
            passage=held[0].page_content if held else "",
        )


class QuotingSystem:
    """Quotes the two best sentences found: cosine with the question plus idf coverage.

    No model writes and no weight is fitted. It never refuses unless nothing is found.
    """

    def __init__(self, library: "Library", embeddings: "Embeddings") -> None:
        self._library = library
        self._embeddings = embeddings

    def ask(self, question: str) -> Reply:
        """Quote, best sentence first."""
        passages = self._library.search([question], QUOTED_FROM)
        found = _distinct_sentences(passages)
        if not found:
            return Reply("", True, [_passage(p) for p in passages], citations=[], sentences=[])
        scores = self._scores(question, [cited.quote for cited in found])
        best = np.argsort(-scores, kind="stable")[:QUOTED_SENTENCES].tolist()
        quoted = [_numbered(found[row], id_) for id_, row in enumerate(best, 1)]
        return Reply(
            answer=" ".join(f"{cited.quote} [{cited.id}]" for cited in quoted),
            abstained=False,
            retrieved=[_passage(passage) for passage in passages],
            citations=quoted,
            sentences=[Sentence((cited.id,), composed=False) for cited in quoted],
        )

    def _scores(self, question: str, sentences: list[str]) -> "np.ndarray[Any, Any]":
        """Cosine plus covered share of the question's idf, (N,)."""
        from retrievers.analysis import tokenize
        from retrievers.dense import unit_rows

        vectors = unit_rows(self._embeddings.embed_documents(sentences))  # (N, D)
        asked = unit_rows(self._embeddings.embed_query(question))[0]  # (D,)
        terms = list(dict.fromkeys(tokenize(question)))
        idf = np.asarray(self._library.idf(terms), dtype=np.float64)  # (T,)
        held = [set(tokenize(sentence)) for sentence in sentences]
        covers = np.asarray([[term in words for term in terms] for words in held])  # (N, T)
        coverage = covers @ idf / idf.sum() if idf.sum() else np.zeros(len(sentences))
        scores: np.ndarray[Any, Any] = vectors @ asked + coverage
        return scores


class ChainSystem:
    """Retrieve four passages by meaning, stuff them into a prompt, ask the same model."""

    def __init__(
        self, library: "Library", embeddings: "Embeddings", model: "BaseChatModel"
    ) -> None:
        from langchain_core.output_parsers import StrOutputParser
        from langchain_core.prompts import ChatPromptTemplate

        from retrievers.dense import DenseRetriever

        self._retriever = DenseRetriever(
            index=library.retriever.vectors,
            fetch=library.get,
            embeddings=embeddings,
            k=CHAIN_PASSAGES,
        )
        prompt = ChatPromptTemplate.from_messages([("human", CHAIN_PROMPT)])
        self._chain = prompt | model | StrOutputParser()

    def ask(self, question: str) -> Reply:
        """The whole reply is the answer, and the short answer too."""
        passages = self._retriever.invoke(question)
        context = "\n\n".join(passage.page_content for passage in passages)
        stopped = None
        try:
            answer = self._chain.invoke({"question": question, "context": context}).strip()
        except ContextBudgetError as error:  # the plain chain has no answer to a full window
            answer, stopped = "", str(error)
        return Reply(
            answer=answer,
            abstained=is_refusal(answer),
            retrieved=[_passage(passage) for passage in passages],
            short_answer=answer,
            stopped=stopped,
        )


def _distinct_sentences(passages: Sequence[Document]) -> list[Cited]:
    """The sentences of the passages; overlapping passages share some, which count once."""
    from retrievers.sentences import split

    found: dict[tuple[Any, ...], Cited] = {}
    for passage in passages:
        text, at = passage.page_content, passage.metadata
        for start, end in split(text, at.get("language")):
            cited = Cited(
                id=0,
                file=str(at["source"]),
                page=at.get("page"),
                start=at["start"] + start,
                end=at["start"] + end,
                quote=text[start:end],
                passage=text,
            )
            found.setdefault((cited.file, cited.page, cited.start, cited.end), cited)
    return list(found.values())


def _numbered(cited: Cited, id_: int) -> Cited:
    from dataclasses import replace

    return replace(cited, id=id_)


def _passage(document: Document) -> Passage:
    return Passage(str(document.metadata.get("source", "")), document.page_content)
