"""Planner: split a question into what can be searched for one thing at a time.

A small model splits questions badly, so its profile works by rules; a larger model is asked
under a schema. What a search did not find is asked again in its bare words.
"""

import re
from collections.abc import Sequence
from typing import Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, Field, ValidationError

from agents.notes import Intake
from agents.profile import Profile
from agents.prompts import PLAN_SYSTEM
from agents.structured import object_of
from retrievers.analysis import STOP_WORDS, THAI_STOP_WORDS

MAX_PARTS: Final = 4
_ASKING: Final = r"(?:who|whom|whose|what|which|when|where|why|how)\b"
_SECOND_PART: Final = re.compile(rf"(?:,\s*|\s+)(?:and|but|then)\s+(?={_ASKING})", re.IGNORECASE)
_SENTENCE_END: Final = re.compile(r"(?<=[?？])\s+")
_REFERS_BACK: Final = re.compile(r"\b(?:he|she|they|him|her|them|his|their|its)\b", re.IGNORECASE)
_COMPARES: Final = re.compile(r"\b(?:between|differences?|differ|compared?|than)\b", re.IGNORECASE)
_NAME: Final = re.compile(r"\b[A-Z][\w'’-]+(?:\s+(?:of\s+(?:the\s+)?)?[A-Z][\w'’-]*)*")
_BARE_WORD: Final = re.compile(r"[\w\u0e31-\u0e4e]+(?:['’-][\w\u0e31-\u0e4e]+)*")  # and Thai signs
_SMALL_WORDS: Final = STOP_WORDS | THAI_STOP_WORDS | {"whose", "much", "many"}


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


def split_question(question: str) -> list[str]:
    """The parts of a question that ask for several things, by its words alone."""
    parts: list[str] = []
    for sentence in _SENTENCE_END.split(question):
        if _COMPARES.search(sentence):
            parts.append(sentence)  # one question about two things
        else:
            parts.extend(_SECOND_PART.split(sentence))
    whole: list[str] = []
    for part in (text.strip().rstrip("?？, ").strip() for text in parts):
        if whole and len(part.split()) < 3:
            whole[-1] = f"{whole[-1]} and {part}"  # "and when" asks of what stands before it
        elif part:
            whole.append(part)
    if len(whole) < 2 or len(whole) > MAX_PARTS:
        return [question]
    return [_with_name(part, whole[:at]) + "?" for at, part in enumerate(whole)]


def _with_name(part: str, before: Sequence[str]) -> str:
    """Say whom a pronoun means, where the earlier parts name exactly one."""
    if not _REFERS_BACK.search(part) or _names(part):
        return part
    names = {name for text in before for name in _names(text)}
    return f"{part} ({names.pop()})" if len(names) == 1 else part


def _names(text: str) -> list[str]:
    return [name for name in _NAME.findall(text) if name.lower() not in _SMALL_WORDS]


def bare_words(question: str) -> str:
    """The question without its function words, in the same order."""
    kept = [w for w in _BARE_WORD.findall(question) if w.lower() not in _SMALL_WORDS]
    return " ".join(kept) or question
