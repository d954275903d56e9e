"""Intake: the question made ready for work, or refused with the reason."""

import re
import unicodedata
from typing import Final

from agents.errors import QuestionError
from agents.notes import Intake, Intent
from retrievers.analysis import tokenize
from retrievers.language import detect

MAX_WORDS: Final = 300
MAX_CHARACTERS: Final = 4000
_SMALL_TALK: Final = re.compile(
    r"(?:hi|hello|hey|thanks|thank you|good (?:morning|evening|afternoon|day)|bye|goodbye|ok|okay"
    r"|how are you|who are you|what are you|what can you do|help|สวัสดี|ขอบคุณ)"
    r"(?:[\s,!.]*(?:there|you|all|very much|a lot|so much|deerstalker|today|how are you"
    r"|ครับ|ค่ะ|คะ|มาก))*"
    r"[\s!?.,]*",
    re.IGNORECASE,
)


def take_in(question: str) -> Intake:
    """Normalise a question and name its language and intent.

    Raises:
        QuestionError: it is empty, holds no word, or is far longer than a question.
    """
    text = " ".join(unicodedata.normalize("NFC", question).split())
    if not text:
        raise QuestionError("the question is empty: ask something in words")
    words = len(text.split())
    if words > MAX_WORDS or len(text) > MAX_CHARACTERS:
        raise QuestionError(
            f"the question has {words:,} words and {len(text):,} characters: ask in at most"
            f" {MAX_WORDS} words and {MAX_CHARACTERS:,} characters"
        )
    intent: Intent = "smalltalk" if _SMALL_TALK.fullmatch(text) else "fact"
    if intent == "fact" and not any(character.isalnum() for character in text):
        raise QuestionError(f"the question {text[:40]!r} holds no word: ask something in words")
    if intent == "fact" and not tokenize(text):
        raise QuestionError(
            f"the question {text[:80]!r} holds only function words: name what it is about"
        )
    return Intake(question=text, language=detect(text), intent=intent)
