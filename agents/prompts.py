"""Every prompt of the team in one place, so that one hash names them."""

import hashlib
from importlib.resources import files
from typing import Final

PLAN_SYSTEM: Final = (
    "Split the user's question into the fewest sub-questions that a document search can answer"
    " one at a time. Keep every name. A question about one thing stays as it is."
)
WRITE_SYSTEM: Final = (
    "You answer questions from numbered texts. Use only the texts and their own words."
    " Write one short sentence that answers the question, and give the numbers of the texts used."
)
WRITE: Final = "{texts}\n\nQuestion: {question}"
SHORT_SYSTEM: Final = "You answer questions with a few words copied from the text."
SHORT: Final = "Text: {text}\n\nQuestion: {question}\nAnswer with a few words of the text."
CLAIM: Final = "Text: {text}\n\nState a fact from this text."
CLAIM_WITHOUT_TEXT: Final = "State a fact."
SMALL_TALK: Final = (
    "I answer questions from your documents and show the evidence for every sentence."
    " Ask me something they may hold."
)


def prompt_hash() -> str:
    """Hash of the prompts and fitted weights that an answer depends on."""
    digest = hashlib.sha256()
    for text in (PLAN_SYSTEM, WRITE_SYSTEM, WRITE, SHORT_SYSTEM, SHORT, CLAIM, CLAIM_WITHOUT_TEXT):
        digest.update(text.encode() + b"\0")
    digest.update((files("agents") / "data" / "evidence.json").read_bytes())
    return digest.hexdigest()
