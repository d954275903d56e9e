"""Text to token ids and back, over one `tokenizer.json`."""

import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.errors import ModelFileError

_DIGITS = {bytes([byte]) for byte in b"0123456789.eE"}


class TextTokenizer:
    """The fast tokenizer of a model folder, with its end-of-reply ids and constraint tables.

    `vocabulary` is the width of the model's logits, which may exceed the tokenizer's own size.
    """

    def __init__(self, folder: Path, vocabulary: int) -> None:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelFileError(f"{folder} has no tokenizer.json: only fast tokenizers are read")
        try:
            self._source = path.read_text(encoding="utf-8")
            self._tokenizer = Tokenizer.from_str(self._source)
        except Exception as err:  # tokenizers raises bare Exception for a damaged file
            raise ModelFileError(f"{path} cannot be read as a tokenizer: {err}") from err
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._lock = threading.Lock()
        self.vocabulary = vocabulary
        self.settings = read_settings(folder)
        self.end_ids = self._end_ids(folder)

    def encode(self, text: str, *, marks: bool = True) -> list[int]:
        """Token ids of `text`; with `marks` False a special token's name is ordinary text."""
        source = self._tokenizer if marks else self._plain
        return list(source.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def id_of(self, token: str) -> int | None:
        """The id of one vocabulary entry, in its byte-level spelling."""
        found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def stream(self) -> "TokenStream":
        """A decoder that is fed one token at a time."""
        return TokenStream(self._tokenizer)

    @cached_property
    def _plain(self) -> Any:
        from tokenizers import Tokenizer

        plain = Tokenizer.from_str(self._source)
        plain.no_truncation()
        plain.no_padding()
        plain.encode_special_tokens = True  # marks in user text stay ordinary text
        return plain

    @cached_property
    def marks(self) -> list[str]:
        """The names of the special tokens, such as `<|im_end|>`."""
        added = self._tokenizer.get_added_tokens_decoder().values()
        return [token.content for token in added if token.special]

    @property
    def tables(self) -> Any:
        """llguidance's view of the vocabulary (0.3 s on first use)."""
        with self._lock:
            return self._tables

    @cached_property
    def _tables(self) -> Any:
        from llguidance import LLTokenizer

        return LLTokenizer(self._source, n_vocab=self.vocabulary, eos_token=self.end_ids)

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of every token id (special tokens are empty)."""
        tables = self.tables
        return [
            b"" if tables.is_special_token(token) else bytes(tables.decode_bytes([token]))
            for token in range(self.vocabulary)
        ]

    @cached_property
    def by_piece(self) -> dict[bytes, int]:
        """The token id of each byte string that is one ordinary token."""
        return {piece: token for token, piece in enumerate(self.pieces) if piece}

    @cached_property
    def digits(self) -> NDArray[np.bool_]:
        """Which tokens begin with a byte that may continue a JSON number, (vocabulary,)."""
        return np.array([piece[:1] in _DIGITS for piece in self.pieces])

    @cached_property
    def letters(self) -> NDArray[np.int16]:
        """The length in bytes of each token that is all letters, 0 for others."""
        return np.array([len(p) if p.isalpha() else 0 for p in self.pieces], dtype=np.int16)

    def _end_ids(self, folder: Path) -> list[int]:
        ends: list[int] = []
        for name in ("generation_config.json", "config.json"):
            value = _read_json(folder / name).get("eos_token_id")
            ends += value if isinstance(value, list) else [] if value is None else [value]
        token = self.settings.get("eos_token")
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and (found := self.id_of(text)) is not None:
            ends.append(found)
        if not ends:
            raise ModelFileError(f"{folder} names no end-of-text token in its config files")
        return list(dict.fromkeys(ends))


class TokenStream:
    """Turns tokens into text as they come; an unfinished character waits for its last byte."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def feed(self, token: int) -> str:
        """The text that `token` completes, perhaps empty."""
        return self._stream.step(self._tokenizer, token) or ""


def read_settings(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json` with the chat template, wherever the folder keeps that."""
    settings = _read_json(folder / "tokenizer_config.json")
    template = folder / "chat_template.jinja"
    if template.is_file():
        settings["chat_template"] = template.read_text(encoding="utf-8")
    return settings


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise ModelFileError(f"{path} is not valid JSON: {err}") from err
    if not isinstance(loaded, dict):
        raise ModelFileError(f"{path} does not hold a JSON object")
    return loaded
