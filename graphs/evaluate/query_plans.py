"""Ways of planning a search, by name: each turns one option of the query side on, alone.

`question` is a plan without any option: what every other one has to beat.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from langchain_core.retrievers import BaseRetriever

from graphs.errors import UserError
from graphs.evaluate.query_given import QUESTION

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.language_models import BaseChatModel

    from retrievers.bm25 import BM25Index
    from retrievers.query.plan import QueryExpander, QueryPlanner, QuestionEdit


@dataclass(frozen=True)
class Parts:
    """What an option may be built from."""

    first: BaseRetriever  # the search without a plan
    lexical: "BM25Index"
    documents: "Sequence[Document]"
    model: "Callable[[], BaseChatModel]"  # loaded only where an option asks it


def build_planner(names: str, parts: Parts) -> "QueryPlanner":
    """The planner of options joined by "+", such as "bridge" or "spelling+feedback".

    Raises UserError for a name that is none of the options.
    """
    from retrievers.query.plan import QueryPlanner

    edits: list[QuestionEdit] = []
    expanders: list[QueryExpander] = []
    for name in (part.strip() for part in names.split("+")):
        if name in _EDITS:
            edits.append(_EDITS[name](parts))
        elif name in _EXPANDERS:
            expanders.append(_EXPANDERS[name](parts))
        elif name != QUESTION:
            known = ", ".join([QUESTION, *_EDITS, *_EXPANDERS])
            raise UserError(f"there is no plan {name!r}: choose among {known}")
    return QueryPlanner(edits=edits, expanders=expanders)


def _bridge(parts: Parts) -> "QueryExpander":
    from retrievers.query.bridge import BridgeExpander

    return BridgeExpander(search=parts.first)


def _acronyms(parts: Parts) -> "QueryExpander":
    from retrievers.query.acronyms import AcronymExpander, find_pairs
    from retrievers.ranking import searchable_text

    return AcronymExpander(pairs=find_pairs(searchable_text(d) for d in parts.documents))


def _feedback(parts: Parts) -> "QueryExpander":
    from retrievers.query.feedback import FeedbackExpander

    return FeedbackExpander(search=parts.first, idf=lambda terms: parts.lexical.idf(terms).tolist())


def _parts(_: Parts) -> "QueryExpander":
    from retrievers.query.chat import PartExpander

    return PartExpander()


def _asked_parts(parts: Parts) -> "QueryExpander":
    from retrievers.query.chat import PartExpander

    return PartExpander(model=parts.model())


def _variants(parts: Parts) -> "QueryExpander":
    from retrievers.query.chat import VariantExpander

    return VariantExpander(model=parts.model())


def _hyde(parts: Parts) -> "QueryExpander":
    from retrievers.query.chat import HypotheticalExpander

    return HypotheticalExpander(model=parts.model())


def _spelling(parts: Parts) -> "QuestionEdit":
    from retrievers.query.spelling import SpellingEdit, Vocabulary

    terms = parts.lexical.tokens
    frequency = parts.lexical.frequency(terms).tolist()
    return SpellingEdit(vocabulary=Vocabulary.of_terms(terms, frequency))


_EDITS: "Final[Mapping[str, Callable[[Parts], QuestionEdit]]]" = {"spelling": _spelling}
_EXPANDERS: "Final[Mapping[str, Callable[[Parts], QueryExpander]]]" = {
    "bridge": _bridge,
    "acronyms": _acronyms,
    "feedback": _feedback,
    "parts": _parts,
    "asked-parts": _asked_parts,
    "variants": _variants,
    "hyde": _hyde,
}
