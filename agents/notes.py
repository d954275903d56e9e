"""What the roles hand to one another: small, typed, JSON-able; ids and offsets, never documents."""

from typing import Any, Literal

from pydantic import BaseModel, Field

Intent = Literal["fact", "smalltalk"]


class Intake(BaseModel):
    """The question as the team works on it."""

    question: str
    language: str = "en"
    intent: Intent = "fact"


class PassageRef(BaseModel):
    """A passage found by a search, by id, with the scores each stage gave it."""

    id: str
    score: float = 0.0
    scores: dict[str, float] = Field(default_factory=dict)


class EvidenceRef(BaseModel):
    """One sentence of a passage: `start` and `end` are characters of the page's text."""

    passage_id: str
    start: int
    end: int
    score: float
    features: dict[str, float] = Field(default_factory=dict)


class SearchNote(BaseModel):
    """What one search for one sub-question brought, best first."""

    sub_question: str
    passages: list[PassageRef] = Field(default_factory=list)
    evidence: list[EvidenceRef] = Field(default_factory=list)
    answerable: float = Field(default=0.0, description="probability that the evidence answers it")
    seconds: float = 0.0
    trace: dict[str, Any] | None = Field(
        default=None, description="what every stage of the search did, where that was asked for"
    )


class Gathered(BaseModel):
    """The searches joined: the evidence to write from, and whether it is enough."""

    evidence: list[EvidenceRef] = Field(default_factory=list)
    nearest: list[PassageRef] = Field(default_factory=list)
    answerable: float = 0.0
    enough: bool = False
    missing: list[str] = Field(default_factory=list)


class DraftSentence(BaseModel):
    """One sentence of an answer; `evidence` counts from 1 into the gathered evidence."""

    text: str
    evidence: list[int]
    composed: bool = False


class Draft(BaseModel):
    """An answer before it is checked."""

    sentences: list[DraftSentence] = Field(default_factory=list)
    short_answer: str = ""


class Verdict(BaseModel):
    """What the verifier says of one sentence."""

    supported: bool
    score: float
    checks: dict[str, float] = Field(default_factory=dict)


class Verified(BaseModel):
    """A draft with one verdict a sentence."""

    draft: Draft
    verdicts: list[Verdict] = Field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether every sentence is supported."""
        return all(verdict.supported for verdict in self.verdicts)
