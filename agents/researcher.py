"""Researcher: search for one sub-question and pick the sentences that speak to it.

Passages under the relevance cutoff give no evidence; they stay in the note, to be shown as the
nearest ones where nothing else is found.
"""

import time
from collections.abc import Sequence
from typing import Final

from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from agents.library import Library
from agents.notes import PassageRef, SearchNote
from agents.question import Question
from agents.ranking import EvidenceRanker

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
    ) -> None:
        self._library = library
        self._ranker = ranker
        self._cutoff = cutoff
        self._passages = passages

    def search(self, sub_question: str) -> SearchNote:
        """What the library holds on one sub-question, by id and offset."""
        begun = time.perf_counter()
        found = self._library.search([sub_question], self._passages)
        relevant = self._cutoff.compress_documents(found, sub_question)
        ranked = self._ranker.rank(Question(sub_question), relevant)
        return SearchNote(
            sub_question=sub_question,
            passages=_refs(found),
            evidence=ranked.evidence,
            answerable=ranked.answerable,
            seconds=round(time.perf_counter() - begun, 3),
        )


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
