"""Pseudo-relevance feedback: words that the first results share are searched too.

The relevance model of Lavrenko and Croft (2001) with the question kept in it (RM3; Abdul-Jaleel
et al., 2004): a term counts by how often the first results hold it, each by its own rank.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from langchain_core.retrievers import BaseRetriever
from pydantic import Field
from typing_extensions import override

from retrievers.query.plan import Query, QueryExpander
from retrievers.ranking import Tokenizer, default_tokenizer, searchable_text

Rarity = Callable[[Sequence[str]], Sequence[float]]
_WORD: Final = re.compile(r"[^\W_](?:[\w'’-]*[^\W_])?")


class FeedbackExpander(QueryExpander):
    """One more query: the question with the words that mark its first results."""

    search: BaseRetriever = Field(repr=False, description="whose first results count as relevant")
    idf: Rarity = Field(repr=False, description="how rare each term is in the corpus")
    tokenizer: Tokenizer = Field(default_factory=default_tokenizer, repr=False)
    passages: int = Field(default=5, ge=1)
    terms: int = Field(default=10, ge=1)
    weight: float = 0.5
    dense: bool = False

    @override
    def expand(self, question: str) -> list[Query]:
        found = self.search.invoke(question)[: self.passages]
        texts = [searchable_text(document) for document in found]
        words = marking_words(question, texts, self.idf, self.tokenizer, self.terms)
        if not words:
            return []
        return [Query(f"{question} {' '.join(words)}", self.weight, "feedback", dense=self.dense)]


def marking_words(
    question: str, texts: Sequence[str], idf: Rarity, tokenizer: Tokenizer, count: int
) -> list[str]:
    """The `count` words that most mark `texts`, best first, none of which `question` holds.

    A word weighs its share of each text over the text's rank from 1, times its idf; one that
    stands in a single text of several marks that text alone and is left out.
    """
    asked = set(tokenizer(question))
    share: defaultdict[str, float] = defaultdict(float)
    held: Counter[str] = Counter()
    spelt: dict[str, Counter[str]] = {}
    for rank, text in enumerate(texts, 1):
        words = _WORD.findall(text)
        terms = [(term, word) for word in words for term in tokenizer(word)[:1]]
        for term, word in terms:
            share[term] += 1 / (rank * len(terms))
            spelt.setdefault(term, Counter())[word] += 1
        held.update({term for term, _ in terms})
    least = 2 if len(texts) > 1 else 1
    known = [term for term in share if term not in asked and held[term] >= least]
    scores = [share[t] * rare for t, rare in zip(known, idf(known), strict=True)]
    order = sorted(range(len(known)), key=lambda at: -scores[at])[:count]
    return [spelt[known[at]].most_common(1)[0][0] for at in order]
