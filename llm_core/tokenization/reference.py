"""The tokenizer itself: normalise, split, look up; and the way back.

`encode` and `decode` follow `tokenizer.json` step by step in plain Python, remembering the ids
of words. The Rust library (`fast.py`) does the same and loads more kinds; this one can be read.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llm_core.errors import ModelFileError
from llm_core.tokenization import pretokenizers
from llm_core.tokenization.added import AddedToken, AddedTokens
from llm_core.tokenization.bpe import BPE
from llm_core.tokenization.bytelevel import spell
from llm_core.tokenization.decoders import build_decoder
from llm_core.tokenization.encoding import Encoding, build_post_processor, of_text
from llm_core.tokenization.normalizers import build_normalizer
from llm_core.tokenization.stream import TokenStream
from llm_core.tokenization.text import whole_characters
from llm_core.tokenization.wordpiece import WordPiece
from llm_core.tokenization.words import Model, WordCache

_FLAGS = ("special", "normalized", "single_word", "lstrip", "rstrip")


class Tokenizer:
    """A tokenizer read from the JSON document `tokenizer.json` holds; safe between threads.

    Truncation and padding of the document are not applied. Raises `ModelFileError` for a
    document that is damaged or of a kind not known.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        try:
            self._build(document)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as err:
            raise ModelFileError(
                f"the tokenizer document is damaged ({type(err).__name__}: {err}); "
                "download the file again"
            ) from err

    def _build(self, document: Mapping[str, Any]) -> None:
        self._model = build_model(document["model"])
        self._normalize = build_normalizer(document.get("normalizer"))
        self._steps, spelled = pretokenizers.build_steps(document.get("pre_tokenizer"))
        self.byte_level = spelled  # its tokens are spelled in byte letters
        self._process = build_post_processor(document.get("post_processor"))
        self._decode = build_decoder(document.get("decoder"))
        encode = self._model.encode
        self._words = WordCache((lambda word: encode(spell(word))) if spelled else encode)
        self._read_added(document.get("added_tokens") or [])

    def _read_added(self, entries: Sequence[Mapping[str, Any]]) -> None:
        vocabulary = self._model.vocabulary
        tokens = [_added_token(entry, vocabulary) for entry in entries]
        self._added = AddedTokens(tokens, self._normalize)
        self._ids = {**vocabulary, **{token.content: token.id for token in tokens}}
        self._tokens = {token_id: token for token, token_id in vocabulary.items()}
        for token in tokens:  # decoders undo what the normaliser did to its name
            name = token.content
            self._tokens[token.id] = self._normalize(name) if token.normalized else name
        self._special = {token.content for token in tokens if token.special}

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def source(self) -> str:
        """The document as the text of a `tokenizer.json`."""
        return json.dumps(self.document, ensure_ascii=False)

    @property
    def special_tokens(self) -> list[str]:
        """The names of the special tokens, by id."""
        return sorted(self._special, key=self._ids.__getitem__)

    def token_to_id(self, token: str) -> int | None:
        """The id of one vocabulary entry, None where there is none."""
        return self._ids.get(token)

    def id_to_token(self, token_id: int) -> str | None:
        """The vocabulary entry of an id, None where there is none."""
        return self._tokens.get(token_id)

    def encode_ids(self, text: str, *, marks: bool = True) -> list[int]:
        """The ids of `text` alone; without `marks` a special token's name is ordinary text."""
        ids: list[int] = []
        for raw, token in self._added.split(whole_characters(text), marks=marks):
            if token is not None:
                ids.append(token)
                continue
            for part, inner in self._added.split_normalized(self._normalize(raw), marks=marks):
                if inner is not None:
                    ids.append(inner)
                else:
                    self._encode_words(part, ids)
        return ids

    def _encode_words(self, text: str, ids: list[int]) -> None:
        words = self._words
        for word in pretokenizers.apply(self._steps, text):
            ids += words[word]

    def encode(
        self, text: str, pair: str | None = None, *, special: bool = True, marks: bool = True
    ) -> Encoding:
        """A text, or a pair of them, with the special tokens its model expects."""
        second = None if pair is None else self._encoding(pair, marks, 1)
        return self._process(self._encoding(text, marks, 0), second, special)

    def _encoding(self, text: str, marks: bool, type_id: int) -> Encoding:
        ids = self.encode_ids(text, marks=marks)
        return of_text(ids, [self._tokens[token] for token in ids], type_id)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of `ids`; ids outside the vocabulary are passed over."""
        tokens = [token for i in ids if (token := self._tokens.get(i)) is not None]
        if skip_special:
            tokens = [token for token in tokens if token not in self._special]
        return "".join(self._decode(tokens))

    def stream(self, *, skip_special: bool = True) -> TokenStream:
        """A decoder that is fed one token at a time."""
        return TokenStream(lambda ids: self.decode(ids, skip_special=skip_special))


def _added_token(entry: Mapping[str, Any], vocabulary: Mapping[str, int]) -> AddedToken:
    content = str(entry["content"])
    token_id = vocabulary.get(content, int(entry["id"]))
    if token_id < 0:
        raise ValueError(f"the added token {content!r} has the id {token_id}")
    return AddedToken(token_id, content, **{flag: bool(entry.get(flag)) for flag in _FLAGS})


def build_model(section: Mapping[str, Any]) -> Model:
    """The model of a `tokenizer.json` section; raises `ModelFileError` for another kind."""
    kind = section.get("type") or ("BPE" if "merges" in section else None)
    vocabulary = section.get("vocab")
    if kind not in ("BPE", "WordPiece") or not isinstance(vocabulary, dict):
        raise ModelFileError(
            f"the tokenizer model {kind!r} is not one that this reader knows (BPE, WordPiece); "
            "the fast tokenizer may"
        )
    if not vocabulary or not all(type(i) is int and i >= 0 for i in vocabulary.values()):
        raise ModelFileError("the tokenizer's vocabulary is empty or holds ids that are no numbers")
    if kind == "BPE":
        return BPE.read(section, vocabulary)
    return WordPiece.read(section, vocabulary)
