"""Byte-pair encoding: start from single letters, join the pair that was learned first.

Source: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword
Units", 2016. A heap of candidate pairs keeps a word of n letters at O(n log n).
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from llm_core.errors import ModelFileError
from llm_core.tokenization.words import Ids

Pair = tuple[int, int]
_GONE = -1


@dataclass
class BPE:
    """A vocabulary with ranked merges; `merges` maps a pair to (rank, the id of its join)."""

    vocabulary: dict[str, int]
    merges: dict[Pair, tuple[int, int]]
    unknown: str | None = None
    fuse_unknown: bool = False
    byte_fallback: bool = False  # spell an unknown letter as its bytes, <0x41>
    whole_words: bool = False  # a word in the vocabulary is one token, merges or not
    prefix: str = ""  # before each letter that goes on a word
    suffix: str = ""  # after the last letter of a word
    _bytes: list[int | None] = field(init=False, repr=False)
    _unknown_id: int | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._bytes = [self.vocabulary.get(f"<0x{byte:02X}>") for byte in range(256)]
        self._unknown_id = None if self.unknown is None else self.vocabulary.get(self.unknown)

    def encode(self, word: str) -> Ids:
        """The token ids of one word."""
        if self.whole_words and (whole := self.vocabulary.get(word)) is not None:
            return (whole,)
        return tuple(self._join(self._letters(word)))

    def _letters(self, word: str) -> list[int]:
        """The ids of the word's letters, before any merge."""
        ids: list[int] = []
        last = len(word) - 1
        unknown_before = False
        for place, letter in enumerate(word):
            spelled = self.prefix + letter if place else letter
            spelled = spelled + self.suffix if place == last else spelled
            found = self.vocabulary.get(spelled)
            if found is not None:
                ids.append(found)
            elif (spelt := self._spell(spelled)) is not None:
                ids += spelt
                continue  # an unknown letter before them still fuses with one behind
            elif self.unknown is not None and not (unknown_before and self.fuse_unknown):
                ids.append(self._need_unknown())
            unknown_before = found is None
        return ids

    def _spell(self, letter: str) -> list[int] | None:
        if not self.byte_fallback:
            return None
        ids = [self._bytes[byte] for byte in letter.encode()]
        return None if None in ids else [token for token in ids if token is not None]

    def _need_unknown(self) -> int:
        if self._unknown_id is None:
            raise ModelFileError(f"the BPE vocabulary lacks its unknown token {self.unknown!r}")
        return self._unknown_id

    def _join(self, ids: list[int]) -> list[int]:
        """Merge `ids` in the order of rank, the leftmost first among equals."""
        merges = self.merges
        heap = [
            (found[0], place, found[1])  # rank, place of the left part, id of the two together
            for place, pair in enumerate(pairwise(ids))
            if (found := merges.get(pair)) is not None
        ]
        if not heap:
            return ids
        heapq.heapify(heap)
        after = [*range(1, len(ids)), _GONE]
        before = list(range(-1, len(ids) - 1))
        while heap:
            _, place, joined = heapq.heappop(heap)
            right = after[place]
            if ids[place] == _GONE or right == _GONE:
                continue
            if merges.get((ids[place], ids[right]), (0, _GONE))[1] != joined:
                continue  # one of the two has become another token since
            ids[place], ids[right] = joined, _GONE
            after[place] = after[right]
            if after[right] != _GONE:
                before[after[right]] = place
            for left, next_ in ((before[place], place), (place, after[place])):
                if left >= 0 and next_ != _GONE:
                    found = merges.get((ids[left], ids[next_]))
                    if found is not None:
                        heapq.heappush(heap, (found[0], left, found[1]))
        return [token for token in ids if token != _GONE]

    @classmethod
    def read(cls, raw: Mapping[str, Any], vocabulary: dict[str, int]) -> "BPE":
        """The model of a `tokenizer.json`'s `model` section; raises `ModelFileError`."""
        if raw.get("dropout"):
            raise ModelFileError(f"BPE dropout {raw['dropout']} is random; only 0 is read")
        prefix = raw.get("continuing_subword_prefix") or ""
        return cls(
            vocabulary,
            rank_merges(raw.get("merges", []), vocabulary, prefix),
            unknown=raw.get("unk_token"),
            fuse_unknown=bool(raw.get("fuse_unk")),
            byte_fallback=bool(raw.get("byte_fallback")),
            whole_words=bool(raw.get("ignore_merges")),
            prefix=prefix,
            suffix=raw.get("end_of_word_suffix") or "",
        )


def rank_merges(
    merges: Sequence[Any], vocabulary: dict[str, int], prefix: str = ""
) -> dict[Pair, tuple[int, int]]:
    """Merges as ids, from pairs of tokens or `"left right"` lines in their order.

    Raises `ModelFileError` for one that is no pair, or whose tokens are not in the vocabulary.
    """
    ranked: dict[Pair, tuple[int, int]] = {}
    cut = len(prefix)
    for rank, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        try:
            left, right = parts
            pair = (vocabulary[left], vocabulary[right])
            ranked[pair] = (rank, vocabulary[left + right[cut:]])
        except (KeyError, ValueError, TypeError) as err:
            raise ModelFileError(
                f"merge {rank} of the tokenizer, {merge!r}, does not join two tokens of its "
                "vocabulary; download the file again"
            ) from err
    return ranked
