"""Queries that a chat model writes under a schema: variants, parts, and a passage that might be.

A model that gives no such object adds nothing: a search never fails for want of a variant.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, Field, StringConstraints, ValidationError
from typing_extensions import override

from retrievers.query.plan import Kind, Query, QueryExpander
from retrievers.query.split import MAX_PARTS, split_question
from retrievers.query.structured import object_of

VARIANTS: Final = (
    "Write other wordings of the user's question for a document search: the same meaning in other"
    " words, such as the documents may use. Keep every name and number."
)
PARTS: Final = (
    "Split the user's question into the fewest sub-questions that a document search can answer"
    " one at a time. Keep every name. A question about one thing stays as it is."
)
PASSAGE: Final = (
    "Write the short passage of a document that would answer the user's question, as if it stood"
    " there. Plain statements, no preface."
)
_LONGEST: Final = 300  # characters of a query
_Text = Annotated[str, StringConstraints(max_length=_LONGEST)]


class Wordings(BaseModel):
    """Other wordings of one question."""

    questions: list[_Text] = Field(min_length=1, max_length=MAX_PARTS)


class Passage(BaseModel):
    """A passage that would answer a question."""

    text: Annotated[str, StringConstraints(min_length=20, max_length=600)]


class VariantExpander(QueryExpander):
    """Asks a chat model for other wordings of the question."""

    model: BaseChatModel = Field(repr=False)
    variants: int = Field(default=3, ge=1, le=MAX_PARTS)
    weight: float = 0.5

    @override
    def expand(self, question: str) -> list[Query]:
        found = list(wordings(self.model, VARIANTS, question))
        return [Query(text, self.weight, "variant") for text in found[: self.variants]]


class PartExpander(QueryExpander):
    """Splits a question of several parts: by its words, or else by a chat model if there is one."""

    model: BaseChatModel | None = Field(default=None, repr=False)
    weight: float = 0.8

    @override
    def expand(self, question: str) -> list[Query]:
        parts = split_question(question)
        if len(parts) == 1 and self.model is not None:
            parts = list(wordings(self.model, PARTS, question))
        kind: Kind = "part"
        return [Query(text, self.weight, kind) for text in parts if text != question]


class HypotheticalExpander(QueryExpander):
    """Searches near a passage that a chat model makes up (HyDE: Gao et al., 2022)."""

    model: BaseChatModel = Field(repr=False)
    weight: float = 0.5

    @override
    def expand(self, question: str) -> list[Query]:
        reply = _object(self.model, Passage, PASSAGE, question)
        if not isinstance(reply, Passage):
            return []
        text = " ".join(reply.text.split())
        return [Query(f"{question} {text}", self.weight, "hypothetical", lexical=False)]


def wordings(model: BaseChatModel, task: str, question: str) -> Iterator[str]:
    """What a model writes for a task, each text once and none like the question; maybe nothing."""
    reply = _object(model, Wordings, task, question)
    if not isinstance(reply, Wordings):
        return
    texts: Sequence[str] = [" ".join(text.split()) for text in reply.questions]
    yield from (text for text in dict.fromkeys(texts) if text and text.lower() != question.lower())


def _object(model: BaseChatModel, kind: type[BaseModel], task: str, question: str) -> object:
    messages = [SystemMessage(task), HumanMessage(question)]
    try:
        return kind.model_validate(object_of(model, kind, messages))
    except ValidationError:  # also where there is no object
        return None
