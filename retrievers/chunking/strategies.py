"""The ways of cutting by name, for settings and for the study that compares them.

Sizes are characters; a chunker that counts otherwise converts them.
"""

from typing import Final

from retrievers.chunking.parents import ParentChildChunker
from retrievers.chunking.passages import Chunker
from retrievers.chunking.recursive import RecursiveChunker
from retrievers.chunking.sentence import SentenceChunker
from retrievers.chunking.structure import StructureChunker
from retrievers.chunking.token import TokenChunker, TokenSpans
from retrievers.errors import RetrievalError

STRATEGIES: Final = ("structure", "sentence", "recursive", "token", "parent-child")
_CHARACTERS_A_TOKEN: Final = 4.3  # English under the vocabulary of BERT; Thai is nearer to 1
_SENTENCE: Final = 130  # characters of a sentence, in the mean
_PARENTS: Final = 3  # times as large as their children


def make_chunker(
    name: str, size: int, overlap: float = 0.0, tokens: TokenSpans | None = None
) -> Chunker:
    """The chunker `name` for passages of about `size` characters.

    Args:
        overlap: the share of a passage that is repeated in the next one, from 0 up to 0.5.
        tokens: character spans of the tokens of a text; "token" needs it.

    Raises:
        RetrievalError: an unknown name, or a size or overlap that cannot be.
    """
    if size < 50 or not 0 <= overlap <= 0.5:
        raise RetrievalError(
            f"passages of {size} characters with an overlap of {overlap:g} cannot be cut: give at"
            " least 50 characters and an overlap from 0 to 0.5"
        )
    repeated = round(size * overlap / _SENTENCE)  # sentences
    if name == "structure":
        return StructureChunker(size, repeated)
    if name == "sentence":
        return SentenceChunker(size, repeated)
    if name == "recursive":
        return RecursiveChunker(size, round(size * overlap))
    if name == "parent-child":
        children = StructureChunker(size, repeated)
        return ParentChildChunker(StructureChunker(size * _PARENTS, 0), children)
    if name == "token" and tokens is not None:
        length = round(size / _CHARACTERS_A_TOKEN)
        return TokenChunker(tokens, length, round(length * overlap))
    why = "needs the tokens of an embedding model" if name == "token" else "is no way of cutting"
    raise RetrievalError(f"{name!r} {why}: choose from {', '.join(STRATEGIES)}")
