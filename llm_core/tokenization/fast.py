"""The Rust `tokenizers` library behind the methods of the reference tokenizer."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llm_core.errors import ModelFileError
from llm_core.tokenization.encoding import Encoding
from llm_core.tokenization.text import whole_characters

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class FastTokenizer:
    """The same ids and texts as `reference.Tokenizer`, from the text of a `tokenizer.json`.

    Reads more kinds of tokenizers than the reference does. Truncation and padding of the
    document are not applied. Raises `ModelFileError` for a damaged document.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._tokenizer = self._read()

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def special_tokens(self) -> list[str]:
        """The names of the special tokens, by id."""
        added = sorted(self._tokenizer.get_added_tokens_decoder().items())
        return [token.content for _, token in added if token.special]

    def token_to_id(self, token: str) -> int | None:
        """The id of one vocabulary entry, None where there is none."""
        found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def id_to_token(self, token_id: int) -> str | None:
        """The vocabulary entry of an id, None where there is none."""
        found = self._tokenizer.id_to_token(token_id)
        return None if found is None else str(found)

    def encode_ids(self, text: str, *, marks: bool = True) -> list[int]:
        """The ids of `text` alone; without `marks` a special token's name is ordinary text."""
        source = self._tokenizer if marks else self._plain
        with _refused():
            return list(source.encode(whole_characters(text), add_special_tokens=False).ids)

    def encode(
        self, text: str, pair: str | None = None, *, special: bool = True, marks: bool = True
    ) -> Encoding:
        """A text, or a pair of them, with the special tokens its model expects."""
        source = self._tokenizer if marks else self._plain
        second = None if pair is None else whole_characters(pair)
        with _refused():
            found = source.encode(whole_characters(text), second, add_special_tokens=special)
        return Encoding(
            list(found.ids),
            list(found.tokens),
            list(found.type_ids),
            list(found.special_tokens_mask),
            list(found.attention_mask),
        )

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of `ids`; ids outside the vocabulary are passed over."""
        with _refused():
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special))

    def stream(self, *, skip_special: bool = True) -> "FastStream":
        """A decoder that is fed one token at a time."""
        return FastStream(self._tokenizer, skip_special)

    @cached_property
    def _plain(self) -> "Tokenizer":
        plain = self._read()
        plain.encode_special_tokens = True  # marks in user text stay ordinary text
        return plain

    def _read(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        with _refused():
            tokenizer = Tokenizer.from_str(self.source)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Turn what the library says of damaged documents into `ModelFileError`.

    It raises bare exceptions, and panics that are not even an `Exception`: some damage shows
    only when a text is encoded.
    """
    try:
        yield
    except BaseException as err:
        if type(err) is not Exception and type(err).__name__ != "PanicException":
            raise
        raise ModelFileError(f"the tokenizer document is damaged: {err}") from err


class FastStream:
    """Turns tokens into text as they come; an unfinished character waits for its last byte."""

    def __init__(self, tokenizer: Any, skip_special: bool) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=skip_special)

    def feed(self, token: int) -> str:
        """The text that `token` completes, perhaps empty."""
        return self._stream.step(self._tokenizer, token) or ""
