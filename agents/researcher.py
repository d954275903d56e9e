"""Researcher: search for one sub-question and pick the sentences that speak to it.

Passages under the relevance cutoff give no evidence; they stay in the note, to be shown as the
nearest ones where nothing else is found.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from agents.library import Library
from agents.notes import PassageRef, SearchNote
from agents.question import Question
from agents.ranking import EvidenceRanker
from retrievers.trace import SHOWN

PASSAGES: Final = 8
_STAGES: Final = ("bm25", "coverage", "dense", "fused")


class Researcher:
    """Finds passages and ranks their sentences."""

    def __init__(
        self,
        library: Library,
        ranker: EvidenceRanker,
        cutoff: BaseDocumentCompressor,
        passages: int = PASSAGES,
        *,
        explain: bool = False,
    ) -> None:
        self._library = library
        self._ranker = ranker
        self._cutoff = cutoff
        self._passages = passages
        self._explain = explain

    def search(self, sub_question: str) -> SearchNote:
        """What the library holds on one sub-question, by id and offset."""
        begun = time.perf_counter()
        found, trace = self._find(sub_question)
        relevant = self._cutoff.compress_documents(found, sub_question)
        ranked = self._ranker.rank(Question(sub_question), relevant)
        return SearchNote(
            sub_question=sub_question,
            passages=_refs(found),
            evidence=ranked.evidence,
            answerable=ranked.answerable,
            seconds=round(time.perf_counter() - begun, 3),
            trace=trace,
        )

    def _find(self, sub_question: str) -> tuple[list[Document], dict[str, Any] | None]:
        """The passages found and, where it is asked for, how, with the places of the ids shown."""
        if not self._explain:
            return self._library.search([sub_question], self._passages), None
        found, trace = self._library.search_traced(sub_question, self._passages)
        values = trace.as_json()
        shown = {item["id"] for stage in values["stages"] for item in stage["items"][:SHOWN]}
        places = {document.id or "": _place(document) for document in self._library.get([*shown])}
        return found, {**values, "places": dict(sorted(places.items()))}


def _place(document: Document) -> str:
    """The file of a passage and its page or line."""
    at = document.metadata
    for name, number in ((at.get("unit") or "page", at.get("page")), ("line", at.get("line"))):
        if number:
            return f"{at.get('source')}, {name} {number}"
    return str(at.get("source") or document.id)


def _refs(found: Sequence[Document]) -> list[PassageRef]:
    return [
        PassageRef(
            id=document.id or "",
            score=round(float(document.metadata.get("dense", 0.0)), 6),
            scores={
                stage: round(float(document.metadata[stage]), 6)
                for stage in _STAGES
                if stage in document.metadata
            },
        )
        for document in found
    ]
