"""One reply scored against what is known of its question: plain counts, a row of the results.

A row keeps counts, not shares, so that a summary can pool and resample them. None is a measure
that does not apply: no system is given a number for what it does not do.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphs.qa_metrics import contains_answer, count_words, exact_match, f1
from graphs.squad import Example

_MARKER = re.compile(r"\s*\[(\d+(?:\s*[,;]\s*\d+)*)\]")
_MARKERS_IN_A_ROW = re.compile(rf"(?:{_MARKER.pattern})+")


@dataclass(frozen=True)
class Passage:
    """A passage that was retrieved."""

    source: str
    text: str


@dataclass(frozen=True)
class Cited:
    """A citation: its number, where the quoted words stand, and the passage they are from."""

    id: int
    file: str
    page: int | None
    start: int
    end: int
    quote: str
    passage: str


@dataclass(frozen=True)
class Sentence:
    """A sentence of an answer: what it cites, and whether the model composed it."""

    citation_ids: tuple[int, ...]
    composed: bool


@dataclass(frozen=True)
class Reply:
    """What a system said; `citations` and `sentences` are None where it never cites.

    `short_answer` None: it gives none. `probability`: its own belief that the documents answer.
    """

    answer: str
    abstained: bool
    retrieved: Sequence[Passage]
    short_answer: str | None = None
    citations: Sequence[Cited] | None = None
    sentences: Sequence[Sentence] | None = None
    probability: float | None = None
    stopped: str | None = None


@dataclass(frozen=True)
class Task:
    """A question as it is asked.

    `answers`: the right ones, none where these documents do not answer it. `own_files`: whether
    the corpus holds the question's paragraph as the file `example.source`.
    """

    example: Example
    answers: tuple[str, ...]
    own_files: bool

    def is_own(self, file: str, text: str) -> bool | None:
        """Whether words of `file` are from the question's paragraph; None: it is not known."""
        if self.own_files:
            return file == self.example.source
        own, given = _squeezed(self.example.context), _squeezed(text)
        return (given in own or own in given) if own and given else None


@dataclass(frozen=True)
class Row:
    """One question's result; counts are of the answer, 0 or None where there is none."""

    at: int
    id: str
    question: str
    answerable: bool
    answer: str
    short_answer: str | None
    abstained: bool
    stopped: str | None
    probability: float | None
    seconds: float
    cpu_seconds: float
    peak_mb: float | None
    own_retrieved: bool | None
    passage_retrieved: bool | None
    hit: float | None
    em: float | None
    f1: float | None
    words: int | None
    sentences: int | None
    cited_sentences: int | None
    composed: int | None
    max_ids: int | None
    citations: int | None
    own_citations: int | None
    holding_citations: int | None
    cited_holds: int | None
    dangling: int | None
    duplicates: int | None


@dataclass(frozen=True)
class Spent:
    """What a reply cost: seconds on the clock and of processor time, and the peak of memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: float | None


def score(at: int, task: Task, reply: Reply, spent: Spent) -> Row:
    """The row of question number `at`."""
    answered, answerable = not reply.abstained, bool(task.answers)
    text = without_markers(reply.answer)
    short = reply.short_answer if answered else ""
    graded = answerable and reply.short_answer is not None
    return Row(
        at=at,
        id=task.example.id,
        question=task.example.question,
        answerable=answerable,
        answer=reply.answer,
        short_answer=reply.short_answer,
        abstained=reply.abstained,
        stopped=reply.stopped,
        probability=reply.probability,
        **asdict(spent),
        own_retrieved=_own_retrieved(task, reply.retrieved),
        passage_retrieved=_passage_retrieved(task, reply.retrieved) if answerable else None,
        hit=float(answered and contains_answer(text, task.answers)) if answerable else None,
        em=exact_match(short or "", task.answers) if graded else None,
        f1=f1(short or "", task.answers) if graded else None,
        words=count_words(text) if answered else None,
        **_sentence_counts(reply),
        **_citation_counts(task, reply),
    )


def without_markers(answer: str) -> str:
    """The answer without its [1], [2, 3] markers."""
    return _MARKER.sub("", answer).strip()


def marked_ids(answer: str) -> list[set[int]]:
    """The ids of each run of markers of an answer: "[1][2]" and "[1, 2]" are both {1, 2}."""
    return [
        {int(number) for number in re.findall(r"\d+", run.group())}
        for run in _MARKERS_IN_A_ROW.finditer(answer)
    ]


def _own_retrieved(task: Task, passages: Sequence[Passage]) -> bool | None:
    if not task.answers:
        return None
    return _any_known(task.is_own(p.source, p.text) for p in passages) if passages else False


def _passage_retrieved(task: Task, passages: Sequence[Passage]) -> bool:
    holds = any(contains_answer(passage.text, task.answers) for passage in passages)
    return holds or bool(_own_retrieved(task, passages))


def _any_known(values: Iterable[bool | None]) -> bool | None:
    known = [value for value in values if value is not None]
    return any(known) if known else None


def _sentence_counts(reply: Reply) -> dict[str, Any]:
    if reply.sentences is None:
        return dict.fromkeys(("sentences", "cited_sentences", "composed", "max_ids"))
    sentences = [] if reply.abstained else list(reply.sentences)
    if not sentences and not reply.abstained:  # an answer that names no sentence is one uncited
        sentences = [Sentence((), composed=True)]
    ids = [len(set(sentence.citation_ids)) for sentence in sentences]
    marked = [len(run) for run in marked_ids(reply.answer)]
    return {
        "sentences": len(sentences),
        "cited_sentences": sum(count > 0 for count in ids),
        "composed": sum(sentence.composed for sentence in sentences),
        "max_ids": max([*ids, *marked], default=0),
    }


def _citation_counts(task: Task, reply: Reply) -> dict[str, Any]:
    names = (
        *("citations", "own_citations", "holding_citations"),
        *("cited_holds", "dangling", "duplicates"),
    )
    if reply.citations is None:
        return dict.fromkeys(names)
    counts: dict[str, int | None] = dict.fromkeys(names)
    cited = list(reply.citations)
    used = set[int]().union(*marked_ids(reply.answer))
    used.update(id_ for sentence in reply.sentences or () for id_ in sentence.citation_ids)
    counts["citations"] = len(cited)
    counts["dangling"] = len(used - {citation.id for citation in cited})
    counts["duplicates"] = _repeats(cited)
    if task.answers:
        own = [task.is_own(citation.file, citation.quote) for citation in cited]
        counts["own_citations"] = None if None in own else sum(map(bool, own))
        holding = [contains_answer(citation.quote, task.answers) for citation in cited]
        counts["holding_citations"] = sum(holding)
        counts["cited_holds"] = not reply.abstained and any(
            contains_answer(citation.passage, task.answers) for citation in cited
        )
    return counts


def _repeats(cited: Sequence[Cited]) -> int:
    """How many citations have the id or the span of an earlier one."""
    ids: set[int] = set()
    spans: set[tuple[str, int | None, int, int]] = set()
    repeats = 0
    for citation in cited:
        span = (citation.file, citation.page, citation.start, citation.end)
        repeats += citation.id in ids or span in spans
        ids.add(citation.id)
        spans.add(span)
    return repeats


def _squeezed(text: str) -> str:
    return " ".join(text.split())
