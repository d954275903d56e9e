"""A writer of GGUF files, version 3: the header first, then one tensor at a time.

The file is written beside its target and renamed at the end, so it is whole or absent.
"""

import contextlib
import math
import os
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from llm_core.errors import ModelError
from llm_core.formats.gguf import ARRAY, MAGIC, SCALARS, STRING
from llm_core.formats.quants import BY_NAME, Bytes

ALIGNMENT = 32  # bytes
VERSION = 3
_CODES = {letter: code for code, letter in SCALARS.items()}


@dataclass(frozen=True)
class Part:
    """A tensor to write: `load` gives its stored rows when their turn comes."""

    name: str
    kind: str
    shape: tuple[int, ...]  # rows before columns
    load: Callable[[], Bytes]

    @property
    def size(self) -> int:
        """Bytes of the stored tensor."""
        return math.prod(self.shape[:-1]) * BY_NAME[self.kind].row_bytes(self.shape[-1])


@dataclass(frozen=True)
class Encoded:
    """A metadata value as another GGUF file stores it: its type and its bytes."""

    data: bytes


def write_gguf(path: Path, metadata: Mapping[str, Any], parts: Sequence[Part]) -> None:
    """Write metadata and tensors as the GGUF file `path`.

    A value is a string, a truth value, a number, a list of one of these, or `Encoded`.
    Raises `ModelError` when the file cannot be written.
    """
    try:
        with replacing(path) as file:
            file.write(_header(metadata, parts))
            _pad(file)
            for part in parts:
                data = part.load()
                assert data.nbytes == part.size, part.name
                file.write(data.reshape(-1).data)
                _pad(file)
    except OSError as error:
        raise ModelError(f"{path} cannot be written ({error.strerror or error})") from error


@contextlib.contextmanager
def replacing(path: Path) -> Any:
    """Open a new file that takes the place of `path` once it is complete and on the disk."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _header(metadata: Mapping[str, Any], parts: Sequence[Part]) -> bytes:
    pieces = [MAGIC, struct.pack("<IQQ", VERSION, len(parts), len(metadata))]
    for key, value in metadata.items():
        pieces += [_text(key), encode(value)]
    offset = 0
    for part in parts:
        shape = part.shape[::-1]
        pieces.append(_text(part.name))
        pieces.append(struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        pieces.append(struct.pack("<IQ", BY_NAME[part.kind].code, offset))
        offset += -(-part.size // ALIGNMENT) * ALIGNMENT
    return b"".join(pieces)


def encode(value: Any) -> bytes:
    """A metadata value with its type in front, as a GGUF file stores it."""
    match value:
        case Encoded():
            return value.data
        case str():
            return struct.pack("<I", STRING) + _text(value)
        case [str(), *_]:
            head = struct.pack("<IIQ", ARRAY, STRING, len(value))
            return head + b"".join(map(_text, value))
        case list():
            letter = _letter(value, of_list=True)
            head = struct.pack("<IIQ", ARRAY, _CODES[letter], len(value))
            return head + struct.pack(f"<{len(value)}{letter}", *value)
    letter = _letter([value])
    return struct.pack(f"<I{letter}", _CODES[letter], value)


def _letter(values: Sequence[bool | int | float], *, of_list: bool = False) -> str:
    """The struct code of the type that holds all of `values`: of 32 bits where they fit."""
    if all(isinstance(value, bool) for value in values):
        return "?"
    if any(isinstance(value, float) for value in values):
        return "f"
    if min(values) < 0 or (of_list and max(values) < 2**31):
        return "i" if min(values) >= -(2**31) and max(values) < 2**31 else "q"
    return "I" if max(values) < 2**32 else "Q"


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % ALIGNMENT))
