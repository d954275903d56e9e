"""Intake: the question made ready for work, or refused with the reason."""

from typing import Final

from agents.errors import QuestionError
from agents.notes import Intake, Intent
from retrievers.analysis import tokenize
from retrievers.language import detect
from retrievers.query.intent import intent_of
from retrievers.query.normalise import normalise

MAX_WORDS: Final = 300
MAX_CHARACTERS: Final = 4000


def take_in(question: str) -> Intake:
    """Normalise a question and name its language and intent.

    Raises:
        QuestionError: it is empty, holds no word, or is far longer than a question.
    """
    text = normalise(question)
    if not text:
        raise QuestionError("the question is empty: ask something in words")
    words = len(text.split())
    if words > MAX_WORDS or len(text) > MAX_CHARACTERS:
        raise QuestionError(
            f"the question has {words:,} words and {len(text):,} characters: ask in at most"
            f" {MAX_WORDS} words and {MAX_CHARACTERS:,} characters"
        )
    intent: Intent = "smalltalk" if intent_of(text) == "chit-chat" else "fact"
    if intent == "fact" and not any(character.isalnum() for character in text):
        raise QuestionError(f"the question {text[:40]!r} holds no word: ask something in words")
    if intent == "fact" and not tokenize(text):
        raise QuestionError(
            f"the question {text[:80]!r} holds only function words: name what it is about"
        )
    return Intake(question=text, language=detect(text), intent=intent)
