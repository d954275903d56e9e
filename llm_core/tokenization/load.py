"""From a place on the disk to a tokenizer."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from llm_core.errors import ModelFileError
from llm_core.tokenization.fast import FastTokenizer

if TYPE_CHECKING:
    from llm_core.tokenization.reference import Tokenizer

NAME = "tokenizer.json"


@overload
def load_tokenizer(source: Path, *, fast: Literal[False] = False) -> "Tokenizer": ...
@overload
def load_tokenizer(source: Path, *, fast: Literal[True]) -> FastTokenizer: ...
@overload
def load_tokenizer(source: Path, *, fast: bool) -> "Tokenizer | FastTokenizer": ...


def load_tokenizer(source: Path, *, fast: bool = False) -> "Tokenizer | FastTokenizer":
    """The tokenizer of a model folder, of a `tokenizer.json` or of a GGUF file.

    The reference in plain Python, or with `fast` the Rust library. Raises `ModelFileError`.
    """
    path = source / NAME if source.is_dir() else source
    if not path.is_file():
        raise ModelFileError(f"{source} has no {NAME}: only fast tokenizers are read")
    text = _from_gguf(path) if path.suffix.lower() == ".gguf" else _read(path)
    try:
        return FastTokenizer(text) if fast else _reference(text)
    except ModelFileError as err:
        raise ModelFileError(f"{path} cannot be read as a tokenizer: {err}") from err


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ModelFileError(f"{path} cannot be read as a tokenizer: {err}") from err


def _from_gguf(path: Path) -> str:
    from llm_core.formats.gguf import GGUFFile
    from llm_core.formats.layout import Keys
    from llm_core.formats.vocabulary import read_tokenizer

    tokenizer, _ = read_tokenizer(Keys(GGUFFile(path)))
    return tokenizer.to_str()


def _reference(text: str) -> "Tokenizer":
    from llm_core.tokenization.reference import Tokenizer

    return Tokenizer(parse(text))


def parse(text: str) -> dict[str, Any]:
    """The JSON document of a tokenizer."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ModelFileError(f"it is not valid JSON: {err}") from err
    if not isinstance(document, dict):
        raise ModelFileError("it does not hold a JSON object")
    return document
