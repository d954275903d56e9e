"""How much of a question an embedding model reads, and what the search does with the rest.

    reading_of(LocalEmbeddings()).share("ใครเป็นผู้ก่อตั้งธนาคาร")  # 0.0: it reads Latin script

A model whose vocabulary has no words in a script turns such a text into marks of unknown words;
their vectors say nothing. There the words of a question decide nearly alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, ConfigDict, Field

from retrievers.dense import embedding_name
from retrievers.fitted import fitted_search
from retrievers.language import script_of

QUOTED: Final = 0.2  # of the letters may be unread: symbols and names that a question quotes
WORDS: Final = 100  # in a vocabulary, from which on a model reads the script


class Reading(BaseModel):
    """What an embedding model reads; as it stands by default, everything.

    `python -m graphs.fit_reading` measures it for a model and fits the two figures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scripts: tuple[str, ...] | None = Field(
        default=None, description="it has words of, as `script_of` names them; None: all"
    )
    dense: float = Field(
        default=1.0, ge=0, le=1, description="times its usual weight where nothing is read"
    )
    phrases: float = Field(
        default=1.0, ge=0, description="times their usual weight where nothing is read"
    )

    def share(self, text: str) -> float:
        """How much of `text` is read: 0 to 1, and 1 where a fifth of the letters is not.

        A text without letters is read.
        """
        if self.scripts is None or text.isascii():
            return 1.0
        letters = Counter(script_of(letter) for letter in text if letter.isalpha())
        total = letters.total()
        if not total:
            return 1.0
        read = sum(count for script, count in letters.items() if script in self.scripts)
        return min(1.0, read / total / (1 - QUOTED))

    def dense_share(self, share: float) -> float:
        """What the weight of the dense ranking is multiplied by where `share` is read."""
        return max(self.dense, share)

    def phrase_share(self, share: float) -> float:
        """What the weight of neighbouring words is multiplied by where `share` is read."""
        return share + (1 - share) * self.phrases


def reading_of(embeddings: Embeddings) -> Reading:
    """What was measured of this model; of one that was not, that it reads everything."""
    known: Mapping[str, Any] = fitted_search().get("reading", {})
    found = known.get(embedding_name(embeddings))
    return Reading.model_validate(found["choice"]) if found else Reading()


def scripts_of(vocabulary: Iterable[str]) -> list[str]:
    """The scripts in which a vocabulary has words: `WORDS` tokens of two letters or more."""
    held: Counter[str] = Counter()
    for token in vocabulary:
        scripts = [script_of(letter) for letter in token if letter.isalpha()]
        if len(scripts) > 1:
            held.update(set(scripts) if len(set(scripts)) == 1 else ())
    return sorted(script for script, count in held.items() if count >= WORDS)
