"""Mend misspelt words of a question by the words of the corpus.

Only a word that the corpus lacks is changed, to the nearest one it holds: by edits first
(Damerau, 1964), then by how many passages hold it. Numbers, codes and short words stay.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from retrievers.query.plan import Edited, QuestionEdit
from retrievers.ranking import Tokenizer, default_tokenizer

_WORD: Final = re.compile(r"(?<![\w'-])[^\W\d_]{4,40}(?![\w'-])")
_TWO_EDITS: Final = 8  # letters from which a word may have two edits
_NAME: Final = 6  # letters from which a name may be misspelt: a shorter one is another name
_SHORTEST: Final = 3  # letters of a word without its ending
_ENDINGS: Final = (
    "s es ed d ing er ers or ors ly al ally ial ic ical ment ments ation ations ion ions ity ities "
    "ive ness e y ies ied able ance ence ent ant ous ist ists ize ized izes ise ised ises"
)
ENDINGS: Final = ("", *_ENDINGS.split())
_STEMS: Final = 50  # near stems that are tried with every ending
_SAMPLE: Final = 4000  # candidates whose distance is worked out, the commonest first


class Vocabulary:
    """The words of a corpus and how many passages hold each."""

    def __init__(self, frequency: Mapping[str, int]) -> None:
        self._frequency = dict(frequency)
        self._words = [word for word in self._frequency if word.isalpha() and len(word) > 2]

    @classmethod
    def of_terms(cls, terms: Sequence[str], frequency: Sequence[int]) -> "Vocabulary":
        """The vocabulary of an index: its terms and the number of passages that hold each."""
        return cls(dict(zip(terms, map(int, frequency), strict=True)))

    def __contains__(self, word: str) -> bool:
        return word in self._frequency

    def near(self, word: str, edits: int) -> dict[str, int]:
        """The words of the corpus at most `edits` from `word`, each with how far it is."""
        away = {near: distance(word, near, edits) for near in self._candidates(word, edits)}
        return {near: far for near, far in away.items() if far <= edits}

    def common(self, word: str) -> int:
        """How many passages hold `word`."""
        return self._frequency.get(word, 0)

    def _candidates(self, word: str, edits: int) -> list[str]:
        """Words of like length and letters, the commonest first."""
        lengths, letters = self._shape
        near = np.abs(lengths - len(word)) <= edits
        # One edit changes at most two entries of the set of letters.
        other = (letters ^ np.uint64(_letters(word))).view(np.uint8).reshape(-1, 8)
        apart = np.unpackbits(other, axis=1).sum(axis=1)
        rows = np.flatnonzero(near & (apart <= 2 * edits))
        words = [self._words[row] for row in rows]
        return sorted(words, key=lambda w: -self._frequency[w])[:_SAMPLE]

    @cached_property
    def _shape(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        lengths = np.asarray([len(word) for word in self._words], dtype=np.int64)
        letters = np.asarray([_letters(word) for word in self._words], dtype=np.uint64)
        return lengths, letters


def _letters(word: str) -> int:
    """A bit for each letter that `word` holds; letters beyond 64 share bits."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) % 64)
    return bits


def distance(one: str, other: str, most: int) -> int:
    """Edits between two words, an exchange of neighbours being one; `most` + 1 where more."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, right in enumerate(other, 1):
            cost = min(row[-1] + 1, before[j] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


class SpellingEdit(QuestionEdit):
    """Writes the words that the corpus lacks as it spells them, and says so in a note."""

    vocabulary: Vocabulary = Field(repr=False)
    tokenizer: Tokenizer = Field(default_factory=default_tokenizer, repr=False)

    @override
    def edit(self, question: str) -> Edited:
        notes: list[str] = []

        def mend(match: re.Match[str]) -> str:
            better = self._better(match[0], opens=match.start() == 0)
            if better is None:
                return match[0]
            notes.append(f"{match[0]!r} read as {better!r}")
            return better

        return Edited(_WORD.sub(mend, question), notes=tuple(notes))

    def _better(self, word: str, *, opens: bool) -> str | None:
        """The corpus's word for a misspelt one: the nearest, then the commonest.

        None where it is no misspelling, or where two words are as near and about as common. A
        name is only one edit from what it means.
        """
        terms = self.tokenizer(word)
        if len(terms) != 1 or terms[0] in self.vocabulary or word.isupper():
            return None
        name = word[0].isupper() and not opens
        if name and len(word) < _NAME:
            return None
        edits = 2 if len(word) >= _TWO_EDITS and not name else 1
        found = self._readings(word.lower(), terms[0], edits)
        best = sorted(found, key=lambda w: (found[w][0], -self.vocabulary.common(found[w][1]), w))
        if not best:
            return None
        rivals = [w for w in best[1:] if found[w][0] == found[best[0]][0]]
        first = self.vocabulary.common(found[best[0]][1])
        if any(2 * self.vocabulary.common(found[w][1]) >= first for w in rivals):
            return None
        return best[0].capitalize() if word[0].isupper() else best[0]

    def _readings(self, word: str, term: str, edits: int) -> dict[str, tuple[int, str]]:
        """Whole words at most `edits` from `word`, one a term, each with its distance and term.

        Terms are stems, and a misspelt word may be cut at another place than the right one: so
        endings are taken off it, and put on the stems that are near to what is left.
        """
        bases = {term, *(word.removesuffix(e) for e in ENDINGS if word.endswith(e))}
        near: dict[str, int] = {}
        for base in sorted(base for base in bases if len(base) >= _SHORTEST):
            for stem, far in self.vocabulary.near(base, edits).items():
                near[stem] = min(far, near.get(stem, far))
        found: dict[str, tuple[int, str]] = {}
        for stem in sorted(near, key=lambda s: (near[s], -self.vocabulary.common(s), s))[:_STEMS]:
            wholes = (stem + e for e in ENDINGS if abs(len(stem + e) - len(word)) <= edits)
            known = [(distance(word, w, edits), w) for w in wholes if self.tokenizer(w) == [stem]]
            far, whole = min(known, default=(edits + 1, ""))
            if far <= edits:
                found[whole] = (far, stem)
        return found
