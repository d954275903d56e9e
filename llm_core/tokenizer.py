"""Text to token ids and back, over one `tokenizer.json`."""

import re
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llm_core.errors import ModelFileError
from llm_core.jsonfile import read_json

if TYPE_CHECKING:
    from llm_core.grammars import Grammars
    from llm_core.tokenization.fast import FastStream
    from llm_core.tokenization.stream import TokenStream

_CLOSING = re.compile(rb"[)\]}>;:,|\\!?]|\.\.")


class TextTokenizer:
    """The tokenizer of a model folder, with its end-of-reply ids and constraint tables.

    `vocabulary` is the width of the model's logits, which may exceed the tokenizer's own size.
    The Rust library does the work; with `fast` False the reference in plain Python does, with
    the same results.
    """

    def __init__(self, folder: Path, vocabulary: int, *, fast: bool = True) -> None:
        from llm_core.tokenization.load import load_tokenizer

        self._tokenizer = load_tokenizer(folder, fast=fast)
        self._lock = threading.Lock()
        self.vocabulary = vocabulary
        self.settings = read_settings(folder)
        self.end_ids = self._end_ids(folder)

    def encode(self, text: str, *, marks: bool = True) -> list[int]:
        """Token ids of `text`; with `marks` False a special token's name is ordinary text."""
        return self._tokenizer.encode_ids(text, marks=marks)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` without special tokens."""
        return self._tokenizer.decode(ids)

    def id_of(self, token: str) -> int | None:
        """The id of one vocabulary entry, in its byte-level spelling."""
        return self._tokenizer.token_to_id(token)

    def stream(self) -> "TokenStream | FastStream":
        """A decoder that is fed one token at a time."""
        return self._tokenizer.stream()

    @property
    def marks(self) -> list[str]:
        """The names of the special tokens, such as `<|im_end|>`."""
        return self._tokenizer.special_tokens

    @property
    def tables(self) -> Any:
        """llguidance's view of the vocabulary (0.3 s on first use)."""
        with self._lock:
            return self._tables

    @cached_property
    def _tables(self) -> Any:
        from llguidance import LLTokenizer

        source = self._tokenizer.source
        return LLTokenizer(source, n_vocab=self.vocabulary, eos_token=self.end_ids)

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
    def letters(self) -> NDArray[np.int16]:
        """The length in bytes of each token that is all letters, 0 for others."""
        return np.array([len(p) if p.isalpha() else 0 for p in self.pieces], dtype=np.int16)

    @cached_property
    def odd_starts(self) -> list[int]:
        """The tokens that begin with a closing mark, as no value that a person means does."""
        return [token for piece, token in self.by_piece.items() if _CLOSING.match(piece)]

    @cached_property
    def grammars(self) -> "Grammars":
        """The grammars of replies that were asked for in this vocabulary."""
        from llm_core.grammars import Grammars

        return Grammars(self)

    def _end_ids(self, folder: Path) -> list[int]:
        ends: list[int] = []
        for name in ("generation_config.json", "config.json"):
            value = _read_optional(folder / name).get("eos_token_id")
            ends += value if isinstance(value, list) else [] if value is None else [value]
        token = self.settings.get("eos_token")
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and (found := self.id_of(text)) is not None:
            ends.append(found)
        if not ends:
            raise ModelFileError(f"{folder} names no end-of-text token in its config files")
        return list(dict.fromkeys(ends))


def read_settings(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json` with the chat template, wherever the folder keeps that."""
    settings = _read_optional(folder / "tokenizer_config.json")
    template = folder / "chat_template.jinja"
    if template.is_file():
        try:
            settings["chat_template"] = template.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelFileError(f"{template} cannot be read ({error}); copy it again") from error
    return settings


def _read_optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
