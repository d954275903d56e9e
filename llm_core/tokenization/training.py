"""Learn a vocabulary from texts: byte-level BPE as GPT-2 has it, or WordPiece as BERT has it.

    tokenizer = train_bpe(texts, 8000, special_tokens=["<|endoftext|>"])
    Path("tokenizer.json").write_text(tokenizer.source, encoding="utf-8")

The same texts always give the same vocabulary; for byte-level BPE it is that of the Rust
library's trainer. Ties between pairs go to the one whose tokens are older.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from llm_core.errors import ModelError
from llm_core.tokenization import bytelevel, pretokenizers
from llm_core.tokenization.bpe import Pair
from llm_core.tokenization.normalizers import build_normalizer
from llm_core.tokenization.patterns import BYTE_DECODER, pre_tokenizer_section
from llm_core.tokenization.reference import Tokenizer

BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_PREFIX = "##"
_NFC_MODELS = ("qwen2",)  # their text is put into composed form first


@dataclass(frozen=True)
class Learned:
    """A vocabulary in the order of its ids, and the merges that made it."""

    tokens: list[str]
    merges: list[tuple[str, str]]


def train_bpe(
    texts: Iterable[str],
    size: int,
    *,
    pre_tokenizer: str = "gpt2",
    special_tokens: Sequence[str] = (),
    min_frequency: int = 0,
) -> Tokenizer:
    """Learn a byte-level vocabulary of `size` tokens, the special ones and 256 bytes included.

    `pre_tokenizer` is gpt2, smollm, llama3 or qwen2. Raises `ModelError` for a size that the
    bytes and special tokens alone exceed, and `ModelFileError` for another pre-tokenizer.
    """
    document: dict[str, Any] = {
        "version": "1.0",
        "normalizer": {"type": "NFC"} if pre_tokenizer in _NFC_MODELS else None,
        "pre_tokenizer": pre_tokenizer_section(pre_tokenizer),
        "post_processor": None,
        "decoder": dict(BYTE_DECODER),
    }
    words = count_words(texts, document, bytelevel.spell)
    learned = learn_merges(
        words, size, special_tokens, bytelevel.alphabet(), min_frequency=min_frequency
    )
    model = {"type": "BPE", "merges": [list(merge) for merge in learned.merges]}
    return _finished(document, model, learned, special_tokens)


def train_wordpiece(
    texts: Iterable[str],
    size: int,
    *,
    lowercase: bool = True,
    special_tokens: Sequence[str] = BERT_TOKENS,
    min_frequency: int = 0,
) -> Tokenizer:
    """Learn a WordPiece vocabulary of at most `size` tokens, merged as BPE would.

    `special_tokens` must hold `[UNK]`, `[CLS]` and `[SEP]`, in any order.
    """
    special_tokens = list(dict.fromkeys(special_tokens))
    if missing := {"[UNK]", "[CLS]", "[SEP]"} - set(special_tokens):
        raise ModelError(f"the special tokens lack {', '.join(sorted(missing))}")
    document: dict[str, Any] = {
        "version": "1.0",
        "normalizer": _bert_normalizer(lowercase),
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", special_tokens.index("[SEP]")],
            "cls": ["[CLS]", special_tokens.index("[CLS]")],
        },
        "decoder": {"type": "WordPiece", "prefix": _PREFIX, "cleanup": True},
    }
    words = count_words(texts, document, str)
    learned = learn_merges(words, size, special_tokens, min_frequency=min_frequency, prefix=_PREFIX)
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": _PREFIX,
        "max_input_chars_per_word": 100,
    }
    return _finished(document, model, learned, special_tokens)


def _bert_normalizer(lowercase: bool) -> dict[str, Any]:
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,  # as `lowercase`
        "lowercase": lowercase,
    }


def count_words(
    texts: Iterable[str], document: Mapping[str, Any], spell: Callable[[str], str]
) -> Counter[str]:
    """How often each word comes, cut as the document's normaliser and pre-tokenizer do."""
    normalize = build_normalizer(document["normalizer"])
    steps, _ = pretokenizers.build_steps(document["pre_tokenizer"])
    found: Counter[str] = Counter()
    for text in texts:
        found.update(pretokenizers.apply(steps, normalize(text)))
    words: Counter[str] = Counter()
    for word, count in found.items():
        words[spell(word)] += count
    return words


def learn_merges(
    words: Mapping[str, int],
    size: int,
    special_tokens: Sequence[str],
    alphabet: Iterable[str] = (),
    *,
    min_frequency: int = 0,
    prefix: str = "",
) -> Learned:
    """Join the commonest pair of neighbours again and again, until there are `size` tokens.

    Ids go to the special tokens, the letters of the words and of `alphabet` in the order of
    their code points, then the merges. `prefix` marks each token that goes on a word.
    """
    letters = sorted({*alphabet, *(letter for word in words for letter in word)})
    learner = _Learner([*special_tokens, *letters], prefix)
    for word in sorted(words) if prefix else words:  # continued letters get ids as they come
        learner.add(word, words[word])
    if len(learner.tokens) > size:
        raise ModelError(
            f"a vocabulary of {size} has no room for its {len(learner.tokens)} letters and "
            "special tokens"
        )
    learner.start()
    while len(learner.tokens) < size and learner.merge_commonest(max(1, min_frequency)):
        pass
    tokens = learner.tokens
    return Learned(tokens, [(tokens[left], tokens[right]) for left, right in learner.merges])


class _Learner:
    """Words as token ids, with the count of every pair and the words it stands in."""

    def __init__(self, tokens: Iterable[str], prefix: str) -> None:
        self.tokens = list(dict.fromkeys(tokens))
        self.merges: list[Pair] = []
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        self._prefix = prefix
        self._words: list[list[int]] = []
        self._counts: list[int] = []
        self._pairs: defaultdict[Pair, int] = defaultdict(int)
        self._queue: list[tuple[int, Pair, int, set[int]]] = []  # (-count, pair, age, words)
        self._age = 0

    def add(self, word: str, count: int) -> None:
        first = [self._id(letter) for letter in word[:1]]
        self._words.append(first + [self._id(self._prefix + letter) for letter in word[1:]])
        self._counts.append(count)

    def start(self) -> None:
        """Count the pairs of all words."""
        places: defaultdict[Pair, set[int]] = defaultdict(set)
        for index, (word, count) in enumerate(zip(self._words, self._counts, strict=True)):
            for pair in pairwise(word):
                self._pairs[pair] += count
                places[pair].add(index)
        self._push(places)

    def merge_commonest(self, least: int) -> bool:
        """Merge one pair everywhere; False where none comes `least` times."""
        while self._queue:
            count, pair, age, places = heapq.heappop(self._queue)
            now = self._pairs[pair]
            if -count != now:  # other merges have taken some of its neighbours
                heapq.heappush(self._queue, (-now, pair, age, places))
            elif now < least:
                return False
            else:
                self._merge(pair, places)
                return True
        return False

    def _merge(self, pair: Pair, places: set[int]) -> None:
        left, right = pair
        joined = self._id(self.tokens[left] + self.tokens[right].removeprefix(self._prefix))
        self.merges.append(pair)
        grown: defaultdict[Pair, set[int]] = defaultdict(set)
        for index in places:
            count = self._counts[index]
            for changed, sign in _join(self._words[index], pair, joined):
                self._pairs[changed] += sign * count
                if sign > 0:
                    grown[changed].add(index)
        self._push(grown)

    def _push(self, places: Mapping[Pair, set[int]]) -> None:
        for pair, words in places.items():
            if self._pairs[pair] > 0:
                self._age += 1
                heapq.heappush(self._queue, (-self._pairs[pair], pair, self._age, words))

    def _id(self, token: str) -> int:
        if token not in self._ids:
            self._ids[token] = len(self.tokens)
            self.tokens.append(token)
        return self._ids[token]


def _join(word: list[int], pair: Pair, joined: int) -> list[tuple[Pair, int]]:
    """Merge `pair` in `word`, in place; returns the pairs that came (1) and went (-1)."""
    left, right = pair
    changes: list[tuple[Pair, int]] = []
    place = 0
    while place < len(word) - 1:
        if word[place] == left and word[place + 1] == right:
            if place:
                changes += [((word[place - 1], left), -1), ((word[place - 1], joined), 1)]
            word[place : place + 2] = [joined]
            if place + 1 < len(word):
                changes += [((right, word[place + 1]), -1), ((joined, word[place + 1]), 1)]
        place += 1
    return changes


def _finished(
    document: Mapping[str, Any],
    model: Mapping[str, Any],
    learned: Learned,
    special_tokens: Sequence[str],
) -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate(learned.tokens)}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": vocabulary[token], "content": token, "special": True, **plain}
        for token in special_tokens
    ]
    complete = {**document, "added_tokens": added, "model": {**model, "vocab": vocabulary}}
    return Tokenizer(complete)
