"""The plan of a search: which queries one question becomes, how much each counts, what is left out.

    planner = QueryPlanner(expanders=[AcronymExpander(pairs=pairs)])
    planner.plan("What does the WHO say about malaria?").queries

Without any part a plan is the normalised question alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field
from typing_extensions import override

from retrievers.language import detect
from retrievers.query.intent import Intent, intent_of
from retrievers.query.normalise import normalise

if TYPE_CHECKING:
    from retrievers.filters import Where

Kind: TypeAlias = Literal["question", "variant", "part", "hypothetical", "feedback", "keywords"]


@dataclass(frozen=True, slots=True)
class Query:
    """One text to search for; `weight` is its share in the fusion, 1 that of the question."""

    text: str
    weight: float = 1.0
    kind: Kind = "question"
    lexical: bool = True  # which of the two rankings it feeds
    dense: bool = True
    depth: int | None = None  # how many of its hits count; None: as many as of the question


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """What is asked of the index for one question; the first of `queries` is the question."""

    question: str
    language: str
    intent: Intent
    queries: tuple[Query, ...]
    where: "Where | None" = None
    notes: tuple[str, ...] = ()


class QueryExpander(RunnableSerializable[str, list[Query]]):
    """Makes further queries of a question; each kind has one job and overrides `expand`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    intents: frozenset[Intent] | None = Field(
        default=None, description="of which questions it makes queries; None: of all"
    )

    def expand(self, question: str) -> list[Query]:
        """Queries beside the question itself; none where there is nothing to add."""
        raise NotImplementedError

    @override
    def invoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Query]:
        return self._call_with_config(self.expand, input, config, **kwargs)


class QuestionEdit(RunnableSerializable[str, "Edited"]):
    """Changes a question before it is searched, and may read a filter out of it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    def edit(self, question: str) -> "Edited":
        """The question as it is to be searched."""
        raise NotImplementedError

    @override
    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> "Edited":
        return self._call_with_config(self.edit, input, config, **kwargs)


@dataclass(frozen=True, slots=True)
class Edited:
    """A question after an edit, the filter read out of it, and what was done, for the trace."""

    text: str
    where: "Where | None" = None
    notes: tuple[str, ...] = ()


class QueryPlanner(RunnableSerializable[str, QueryPlan]):
    """Makes the plan of a search: normalise, edit, name the intent, expand."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    edits: list[QuestionEdit] = Field(default_factory=list)
    expanders: list[QueryExpander] = Field(default_factory=list)
    limit: int = Field(default=48, ge=1, description="queries in a plan, the question among them")

    def plan(self, question: str) -> QueryPlan:
        """The plan of one question; its text is normalised, never empty unless `question` is."""
        text = normalise(question)
        wheres: list[Where] = []
        notes: list[str] = []
        for edit in self.edits:
            edited = edit.edit(text)
            text = edited.text or text
            notes += edited.notes
            wheres += [edited.where] if edited.where else []
        intent = intent_of(text)
        found = [Query(text), *self._expanded(text, intent)]
        where = wheres[0] if len(wheres) == 1 else {"$and": wheres} if wheres else None
        queries = tuple(_without_repeats(found))[: self.limit]
        return QueryPlan(text, detect(text), intent, queries, where, tuple(notes))

    def _expanded(self, text: str, intent: Intent) -> Iterator[Query]:
        for expander in self.expanders:
            if expander.intents is None or intent in expander.intents:
                yield from expander.expand(text)

    @override
    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> QueryPlan:
        return self._call_with_config(self.plan, input, config, **kwargs)


def _without_repeats(queries: Sequence[Query]) -> Iterator[Query]:
    """Each text once, as it first came; texts that hold no letter or digit are left out."""
    seen: set[str] = set()
    for query in queries:
        key = " ".join(query.text.lower().split())
        if key not in seen and (not seen or any(c.isalnum() for c in key)):
            seen.add(key)
            yield query
