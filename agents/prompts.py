"""Every prompt of the team in one place, so that one hash names them."""

import hashlib
from importlib.resources import files
from typing import Final

from retrievers.query.chat import PARTS as PLAN_SYSTEM

WRITE_SYSTEM: Final = (
    "Answer the question in one full sentence, with the words of the question and of the texts."
    " Give the numbers of the texts used."
)
WRITE: Final = "{texts}\n\nQuestion: {question}"
SHORT: Final = "{text}\n\nQ: {question}"
SHORT_REPLY: Final = "A: {answer}."
CLAIM: Final = "Text: {text}\n\nState a fact from this text."
CLAIM_WITHOUT_TEXT: Final = "State a fact."
SMALL_TALK: Final = (
    "I answer questions from your documents and show the evidence for every sentence."
    " Ask me something they may hold."
)


def prompt_hash() -> str:
    """Hash of the prompts and fitted weights that an answer depends on."""
    digest = hashlib.sha256()
    for text in (PLAN_SYSTEM, WRITE_SYSTEM, WRITE, SHORT, SHORT_REPLY, CLAIM, CLAIM_WITHOUT_TEXT):
        digest.update(text.encode() + b"\0")
    digest.update((files("agents") / "data" / "evidence.json").read_bytes())
    return digest.hexdigest()
