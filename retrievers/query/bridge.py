"""Second hops: what the first search found names what the question did not know to ask for.

"Where was the director of Jaws born?" finds the film; the names in that passage, and the words of
the question that it leaves unanswered, are searched next. No model: names are read from capital
letters, so languages without them get no second hop.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field
from typing_extensions import override

from retrievers.query.names import names_of
from retrievers.query.plan import Query, QueryExpander
from retrievers.ranking import Tokenizer, default_tokenizer, searchable_text

_NAMES_TOGETHER: Final = 8  # names of a passage that one query joins


class BridgeExpander(QueryExpander):
    """Queries for a second hop, from the best passages of a first search.

    Each new name of a passage is a query of its own, of which the first hits alone count; all of
    them together with what the passage does not say of the question are another. Passages lower
    in the first search count less. Lexical, as names are: nothing has to be embedded.
    """

    search: BaseRetriever = Field(repr=False, description="the first hop, best passage first")
    tokenizer: Tokenizer = Field(default_factory=default_tokenizer, repr=False)
    passages: int = Field(default=4, ge=1)
    names: int = Field(default=8, ge=0, description="names of a passage that become queries")
    depth: int = Field(default=3, ge=1, description="hits of a name's query that count")
    name_weight: float = 0.7
    rest_weight: float = 0.8
    decay: float = Field(default=0.5, gt=0, le=1, description="share of the passage one rank lower")

    @override
    def expand(self, question: str) -> list[Query]:
        found = self.search.invoke(question)
        return list(self._queries(question, found[: self.passages]))

    def _queries(self, question: str, found: Sequence[Document]) -> Iterator[Query]:
        asked = frozenset(self.tokenizer(question))
        for rank, passage in enumerate(found):
            text = searchable_text(passage)
            share = self.decay**rank
            new = new_names(passage, asked, self.tokenizer)
            for name in islice(new, self.names):
                yield Query(name, self.name_weight * share, "part", dense=False, depth=self.depth)
            rest = " ".join([*new[:_NAMES_TOGETHER], *unsaid(question, text, self.tokenizer)])
            if rest and self.rest_weight:
                yield Query(rest, self.rest_weight * share, "part", dense=False)


def new_names(passage: Document, asked: frozenset[str], tokenizer: Tokenizer) -> list[str]:
    """The names in title and text that hold a term which is not among those `asked`, in order."""
    # Read apart: the title's last word and the text's first one are not one name.
    parts = (str(passage.metadata.get("title") or ""), passage.page_content)
    names = dict.fromkeys(name for part in parts for name in names_of(part))
    return [name for name in names if not asked.issuperset(tokenizer(name))]


def unsaid(question: str, text: str, tokenizer: Tokenizer) -> list[str]:
    """The words of `question` with a search term that `text` does not hold, in order."""
    said = set(tokenizer(text))
    return [
        word
        for word in (piece.strip("?!.,;:()\"'") for piece in question.split())
        if (terms := tokenizer(word)) and not said.issuperset(terms)
    ]
