"""Reporter: turn a verified draft into the result, each citation with its address."""

import re
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
_MARKER = re.compile(r"\[(\d+)\]")  # a note number in a document would read as our citation


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
        ids: dict[int, list[int]] = {}
        for at, span in enumerate(spans, 1):
            for number in span.evidence:
                ids.setdefault(number, []).append(at)
        parts: list[str] = []
        support: list[SentenceSupport] = []
        for sentence, verdict in zip(sentences, verified.verdicts, strict=True):
            found = dict.fromkeys(at for n in sentence.evidence for at in ids.get(n, ()))
            cited = list(found)[:MAX_IDS]
            if not cited:
                continue  # nothing is said without its evidence
            said = _MARKER.sub(r"(\1)", sentence.text)
            parts.append(said + " " + "".join(f"[{id_}]" for id_ in cited))
            support.append(
                SentenceSupport(
                    sentence=said,
                    citation_ids=cited,
                    score=verdict.score,
                    composed=sentence.composed,
                    checks=verdict.checks,
                )
            )
        if not parts:
            return self.refuse(question, [])
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
        """One span a passage, in order of first use; spans of one page never overlap."""
        numbers = list(dict.fromkeys(n for s in sentences for n in s.evidence[:MAX_IDS]))
        wanted = [evidence[n - 1].passage_id for n in numbers]
        passages = {d.id: d for d in self._library.get(list(dict.fromkeys(wanted)))}
        spans: list[_Span] = []
        for number in numbers:
            ref = evidence[number - 1]
            passage = passages.get(ref.passage_id)
            if passage is None:
                continue  # its document has left the library since
            joined = next((span for span in spans if _joins(span, passage, ref)), None)
            if joined is None:
                spans.append(_beside(spans, passage, ref, number))
            else:
                joined.start, joined.end = min(joined.start, ref.start), max(joined.end, ref.end)
                joined.evidence.add(number)
        return spans


def _same_page(one: Document, other: Document) -> bool:
    keys = ("doc_hash", "page")
    return [one.metadata.get(k) for k in keys] == [other.metadata.get(k) for k in keys]


def _beside(spans: Sequence[_Span], passage: Document, ref: EvidenceRef, number: int) -> _Span:
    """A new span for `ref`, without the words that spans of the same page quote already.

    Where such a span takes some of its words, the evidence is that span's too: both are cited.
    """
    start, end = ref.start, ref.end
    for span in spans:
        if _same_page(span.passage, passage) and span.start < end and start < span.end:
            span.evidence.add(number)
            if span.start <= start:
                start = min(span.end, end - 1)
            else:
                end = span.start
    return _Span(passage, start, end, {number})


def _joins(span: _Span, passage: Document, ref: EvidenceRef) -> bool:
    """Whether a citation of `span` can serve `ref`: its words lie in the span's passage."""
    held = span.passage.metadata
    within = bool(held["start"] <= ref.start and ref.end <= held["end"])
    return within and _same_page(span.passage, passage)


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
