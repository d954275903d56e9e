"""WordPiece: cut each word into the longest pieces that the vocabulary has, from the left.

Source: Wu et al., "Google's Neural Machine Translation System", 2016; BERT's form of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from llm_core.errors import ModelFileError
from llm_core.tokenization.words import Ids


@dataclass
class WordPiece:
    """Greedy longest match; a word that cannot be spelled is one unknown token."""

    vocabulary: dict[str, int]
    unknown: str = "[UNK]"
    prefix: str = "##"  # marks a piece that goes on a word
    longest: int = 100  # characters of a word; a longer one is unknown

    def __post_init__(self) -> None:
        if self.unknown not in self.vocabulary:
            raise ModelFileError(
                f"the WordPiece vocabulary lacks its unknown token {self.unknown!r}"
            )
        self._reach = max(map(len, self.vocabulary))  # no piece is longer

    def encode(self, word: str) -> Ids:
        """The token ids of one word."""
        unknown = (self.vocabulary[self.unknown],)
        if len(word) > self.longest:
            return unknown
        ids: list[int] = []
        start = 0
        while start < len(word):
            prefix = self.prefix if start else ""
            for end in range(min(len(word), start + self._reach), start, -1):
                found = self.vocabulary.get(prefix + word[start:end])
                if found is not None:
                    break
            else:
                return unknown
            ids.append(found)
            start = end
        return tuple(ids)

    @classmethod
    def read(cls, raw: Mapping[str, object], vocabulary: dict[str, int]) -> "WordPiece":
        """The model of a `tokenizer.json`'s `model` section."""
        return cls(
            vocabulary,
            unknown=str(raw.get("unk_token", "[UNK]")),
            prefix=str(raw.get("continuing_subword_prefix", "##")),
            longest=int(str(raw.get("max_input_chars_per_word", 100))),
        )
