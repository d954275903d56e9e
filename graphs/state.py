"""State of the research graph: small, typed, ids and offsets only.

Everything here is stored in checkpoints after every step. Every class that may be stored is
named in `STORED_TYPES`; anything else is refused when a checkpoint is read.
"""

import operator
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, cast

from langgraph.managed import RemainingSteps
from pydantic import BaseModel, Field, TypeAdapter, model_validator
from typing_extensions import TypedDict

from agents.notes import Draft, Gathered, Intake, SearchNote, Verified
from agents.result import ResearchResult

STORED_TYPES = (Intake, SearchNote, Gathered, Draft, Verified, ResearchResult)


_NOTES = TypeAdapter(list[SearchNote])


def merge_notes(old: list[SearchNote], new: list[SearchNote]) -> list[SearchNote]:
    """Join the notes of parallel searches; a search that ran again replaces its first note."""
    notes = _NOTES.validate_python([*old, *new])
    return list({note.sub_question: note for note in notes}.values())


def add_seconds(old: dict[str, float], new: dict[str, float]) -> dict[str, float]:
    """Add up the seconds spent, by step."""
    return {step: old.get(step, 0.0) + new.get(step, 0.0) for step in [*old, *new]}


class ResearchInput(TypedDict):
    """What a caller gives."""

    question: Annotated[
        str,
        Field(
            description="The question to answer from the documents.",
            examples=["Where was the blue carbuncle hidden?"],
        ),
    ]
    review: NotRequired[
        Annotated[bool, Field(description="Pause after the plan for a person to approve it.")]
    ]
    seed: NotRequired[
        Annotated[int | None, Field(description="Recorded in the result beside the answer.")]
    ]


class ResearchOutput(TypedDict):
    """What a caller gets."""

    result: ResearchResult


class SearchTask(TypedDict):
    """What one branch of the parallel search works on."""

    sub_question: str


class ResearchState(ResearchInput):
    """Everything a run knows; lists of notes grow, the rest is replaced."""

    manifest: dict[str, Any]
    intake: Intake
    sub_questions: list[str]
    notes: Annotated[list[SearchNote], merge_notes]
    rounds: int
    gathered: Gathered | None
    draft: Draft | None
    verified: Verified | None
    repaired: bool
    stopped: str | None
    seconds: Annotated[dict[str, float], add_seconds]
    model_calls: Annotated[int, operator.add]
    remaining_steps: RemainingSteps
    result: ResearchResult | None


_TYPED: Mapping[str, TypeAdapter[Any]] = {
    "intake": TypeAdapter(Intake),
    "notes": _NOTES,
    "gathered": TypeAdapter(Gathered | None),
    "draft": TypeAdapter(Draft | None),
    "verified": TypeAdapter(Verified | None),
}


def typed(state: ResearchState) -> ResearchState:
    """The state with its own types, where a server or a person's edit gave plain JSON.

    Raises pydantic.ValidationError where an edit does not fit the type.
    """
    known = {
        name: kind.validate_python(state.get(name))
        for name, kind in _TYPED.items()
        if name in state
    }
    return cast("ResearchState", {**state, **known})


class PlanArgs(BaseModel):
    """The plan a person may change."""

    sub_questions: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        min_length=1, max_length=8
    )


class EditedPlan(BaseModel):
    """The plan a person wrote in place of the proposed one."""

    name: Literal["search_documents"] = "search_documents"
    args: PlanArgs


class Decision(BaseModel):
    """A person's word on the plan."""

    type: Literal["approve", "edit", "reject"]
    edited_action: EditedPlan | None = None
    message: str | None = None

    @model_validator(mode="after")
    def _edit_has_a_plan(self) -> "Decision":
        if self.type == "edit" and self.edited_action is None:
            raise ValueError("an edit needs edited_action with args.sub_questions")
        return self


class Review(BaseModel):
    """The answer to a review interrupt: one decision, for the one action asked about."""

    decisions: list[Decision] = Field(min_length=1, max_length=1)


def review_request(sub_questions: list[str]) -> Mapping[str, Any]:
    """The interrupt payload, in the layout LangChain's human-in-the-loop clients read."""
    return {
        "action_requests": [
            {
                "name": "search_documents",
                "args": {"sub_questions": sub_questions},
                "description": "Search the documents for these questions.",
            }
        ],
        "review_configs": [
            {
                "action_name": "search_documents",
                "allowed_decisions": ["approve", "edit", "reject"],
            }
        ],
    }
