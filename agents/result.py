"""The result object of a research run: what every surface (terminal, JSON, SDK) shows."""

from typing import Any

from pydantic import BaseModel, Field

NOT_IN_DOCUMENTS = "not in your documents"


class Quote(BaseModel):
    """Words of a document with their address.

    `start` and `end` are characters of the page's text (of the whole file's text where it has
    no pages); `page` and `line` count from 1.
    """

    passage_id: str
    file: str
    page: int | None = None
    line: int | None = None
    start: int
    end: int
    quote: str


class Citation(Quote):
    """A quotation that sentences of the answer cite as [id]."""

    id: int


class Nearest(Quote):
    """A passage shown when the documents do not hold the answer; `score` is its cosine."""

    score: float


class SentenceSupport(BaseModel):
    """How one sentence of the answer stands on its citations."""

    sentence: str
    citation_ids: list[int]
    score: float
    composed: bool
    checks: dict[str, float] = Field(default_factory=dict)


class ResearchResult(BaseModel):
    """One answered (or honestly refused) question."""

    question: str
    answer: str
    short_answer: str = ""
    citations: list[Citation] = Field(default_factory=list)
    support: list[SentenceSupport] = Field(default_factory=list)
    abstained: bool = False
    nearest: list[Nearest] = Field(default_factory=list)
    thread_id: str = ""
    seed: int | None = None
    stopped: str | None = None
    manifest: dict[str, Any] = Field(default_factory=dict)
    timings: dict[str, float] = Field(default_factory=dict)
    search: list[dict[str, Any]] = Field(
        default_factory=list, description="how each search went, where that was asked for"
    )
