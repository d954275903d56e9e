"""Planner: split a question into what can be searched for one thing at a time.

A small model splits questions badly, so its profile works by rules; a larger model is asked
under a schema. What a search did not find is asked again in its bare words.
"""

from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel

from agents.notes import Intake
from agents.profile import Profile
from retrievers.query.chat import PARTS, wordings
from retrievers.query.split import bare_words, split_question


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
            return list(wordings(self._model, PARTS, intake.question)) or parts
        return parts
