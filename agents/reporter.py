"""Reporter: turn a verified draft into the result, each citation with its address."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document

from agents.library import Library
from agents.notes import DraftSentence, EvidenceRef, PassageRef, Verified
from agents.prompts import SMALL_TALK
from agents.result import NOT_IN_DOCUMENTS, Citation, Nearest, ResearchResult, SentenceSupport
from agents.writer import MAX_IDS

_NEAREST_CHARACTERS = 300


@dataclass
class _Span:
    """A stretch of one page that one citation quotes; `evidence` are numbers from 1."""

    passage: Document
    start: int
    end: int
    evidence: set[int]


class Reporter:
    """Builds results."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def answer(
        self, question: str, verified: Verified, evidence: Sequence[EvidenceRef]
    ) -> ResearchResult:
        """The answer with its numbered citations; the citations are numbered as they appear."""
        sentences = verified.draft.sentences
        spans = self._spans(sentences, evidence)
        ids = {n: at for at, span in enumerate(spans, 1) for n in span.evidence}
        parts: list[str] = []
        support: list[SentenceSupport] = []
        for sentence, verdict in zip(sentences, verified.verdicts, strict=True):
            cited = list(dict.fromkeys(ids[n] for n in sentence.evidence))[:MAX_IDS]
            parts.append(sentence.text + " " + "".join(f"[{id_}]" for id_ in cited))
            support.append(
                SentenceSupport(
                    sentence=sentence.text,
                    citation_ids=cited,
                    score=verdict.score,
                    composed=sentence.composed,
                    checks=verdict.checks,
                )
            )
        return ResearchResult(
            question=question,
            answer=" ".join(parts),
            short_answer=verified.draft.short_answer,
            citations=[_citation(span, at) for at, span in enumerate(spans, 1)],
            support=support,
        )

    def refuse(self, question: str, nearest: Sequence[PassageRef]) -> ResearchResult:
        """ "Not in your documents", with what came nearest."""
        scores = {ref.id: ref.score for ref in nearest}
        found = self._library.get(list(scores))
        return ResearchResult(
            question=question,
            answer=NOT_IN_DOCUMENTS,
            abstained=True,
            nearest=[_nearest(document, scores[document.id or ""]) for document in found],
        )

    @staticmethod
    def small_talk(question: str) -> ResearchResult:
        """What the assistant is for; no documents are involved."""
        return ResearchResult(question=question, answer=SMALL_TALK)

    def _spans(
        self, sentences: Sequence[DraftSentence], evidence: Sequence[EvidenceRef]
    ) -> list[_Span]:
        """One span a passage, in order of first use; overlapping spans of a page are one."""
        numbers = list(dict.fromkeys(n for s in sentences for n in s.evidence))
        wanted = [evidence[n - 1].passage_id for n in numbers]
        passages = {d.id: d for d in self._library.get(list(dict.fromkeys(wanted)))}
        spans: list[_Span] = []
        for number in numbers:
            ref = evidence[number - 1]
            passage = passages[ref.passage_id]
            for span in spans:
                if _joins(span, passage, ref):
                    span.start, span.end = min(span.start, ref.start), max(span.end, ref.end)
                    span.evidence.add(number)
                    break
            else:
                spans.append(_Span(passage, ref.start, ref.end, {number}))
        return spans


def _joins(span: _Span, passage: Document, ref: EvidenceRef) -> bool:
    """Whether a citation of `span` can serve `ref`: its words lie in the span's passage."""
    held = span.passage.metadata
    same_page = (held.get("doc_hash"), held.get("page")) == (
        passage.metadata.get("doc_hash"),
        passage.metadata.get("page"),
    )
    return same_page and held["start"] <= ref.start and ref.end <= held["end"]


def _citation(span: _Span, id_: int) -> Citation:
    return Citation(id=id_, **_address(span.passage, span.start, span.end))


def _nearest(passage: Document, score: float) -> Nearest:
    start, end = passage.metadata["start"], passage.metadata["end"]
    return Nearest(
        score=round(score, 4),
        **_address(passage, start, min(end, start + _NEAREST_CHARACTERS)),
    )


def _address(passage: Document, start: int, end: int) -> dict[str, Any]:
    """The address of characters [start, end) of the page that `passage` is from."""
    facts, text = passage.metadata, passage.page_content
    first = start - facts["start"]
    line = facts.get("line")
    return {
        "passage_id": passage.id or "",
        "file": facts["source"],
        "page": facts.get("page"),
        "line": None if line is None else line + text[:first].count("\n"),
        "start": start,
        "end": end,
        "quote": text[first : end - facts["start"]],
    }
