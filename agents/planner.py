"""Planner: split a question into what can be searched for one thing at a time.

A small model splits questions badly, so its profile works by rules; a larger model is asked
under a schema. What a search did not find is asked again in its bare words.
"""

from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, Field, ValidationError

from agents.notes import Intake
from agents.profile import Profile
from agents.prompts import PLAN_SYSTEM
from retrievers.query.split import MAX_PARTS, bare_words, split_question
from retrievers.query.structured import object_of


class Plan(BaseModel):
    """Sub-questions that together answer the question."""

    sub_questions: list[str] = Field(min_length=1, max_length=MAX_PARTS)


class Planner:
    """Makes sub-questions."""

    def __init__(self, model: BaseChatModel, profile: Profile) -> None:
        self._model = model
        self._profile = profile

    def plan(self, intake: Intake, missing: Sequence[str]) -> list[str]:
        """Sub-questions for the question, or new wordings of those that are `missing`."""
        if missing:
            return [bare for text in missing if (bare := bare_words(text)) != text]
        parts = split_question(intake.question)
        if len(parts) == 1 and self._profile.model_plans:
            return self._ask(intake.question)
        return parts

    def _ask(self, question: str) -> list[str]:
        messages = [SystemMessage(PLAN_SYSTEM), HumanMessage(question)]
        try:
            found = Plan.model_validate(object_of(self._model, Plan, messages)).sub_questions
        except ValidationError:  # also where there is no object
            return [question]
        return [text.strip() for text in found if text.strip()] or [question]
