"""A reader of GGUF files: every count, length and offset is checked before it is used.

The file is mapped, never copied; long lists of strings (a vocabulary) are only measured
and turn into Python strings when they are asked for. Layout:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little endian.
"""

import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from llm_core.errors import ModelFileError
from llm_core.formats.quants import BY_NAME, KINDS, OTHERS, Bytes, Floats, Kind, dequantise

MAGIC = b"GGUF"
VERSIONS = (2, 3)
LONGEST_NAME = 1 << 16  # bytes of a key or a tensor name
MOST_DIMENSIONS = 4
MOST_ENTRIES = 1 << 22  # of a list; the largest vocabularies have a sixteenth of that
ALIGNMENTS = range(8, (1 << 16) + 1, 8)
STRING, ARRAY = 8, 9
SCALARS: dict[int, str] = {  # value type: struct code
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_SHORTEST_ENTRY = 13  # bytes of the smallest key with its value
_SHORTEST_TENSOR = 32  # bytes of the smallest tensor description


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies; `shape` is in numpy's order: rows before columns."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    start: int  # byte of the file
    size: int  # bytes


@dataclass(frozen=True)
class _Strings:
    """A list of strings that has been measured but not decoded."""

    start: int
    count: int


def shown(value: Any) -> str:
    """A value as an error line may quote it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class GGUFFile:
    """One GGUF file: its metadata and its tensors by name.

    Raises `ModelFileError`, naming the file and the first thing that is wrong with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = _map(path)
        self._cursor = _Cursor(path, self._data)
        self._spans: dict[str, tuple[int, int]] = {}
        self._values, infos = self._read_header()
        self.tensors = self._place(infos)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        """The metadata keys in the file's order."""
        return iter(self._values)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a metadata key: a number, a string, a list, or `default`."""
        value = self._values.get(key, default)
        if isinstance(value, _Strings):
            value = self._cursor.strings(value)
            self._values[key] = value
        return value

    def length(self, key: str) -> int:
        """How many entries the list under `key` has, 0 where there is no list."""
        value = self._values.get(key)
        if isinstance(value, _Strings):
            return value.count
        return len(value) if isinstance(value, list) else 0

    def encoded(self, key: str) -> bytes:
        """The stored bytes of a metadata value, with its type in front."""
        start, end = self._spans[key]
        return self._data[start:end].tobytes()

    def raw(self, name: str) -> Bytes:
        """The stored bytes of a tensor, (R, bytes of a row), as a view of the file."""
        info = self.tensors[name]
        data = self._data[info.start : info.start + info.size]
        return data.reshape(-1, info.kind.row_bytes(info.shape[-1]))

    def values(self, name: str) -> Floats:
        """The values of a tensor in float32, in its shape."""
        info = self.tensors[name]
        return dequantise(self.raw(name), info.kind.name).reshape(info.shape)

    def _read_header(self) -> tuple[dict[str, Any], list[tuple[str, Kind, tuple[int, ...], int]]]:
        cursor = self._cursor
        if cursor.take(4) != MAGIC:
            cursor.fail("it does not begin with the letters GGUF")
        version = cursor.number("I")
        if version not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            cursor.fail(f"it has version {version}, known are {known} (little endian)")
        tensors = cursor.count("tensors", _SHORTEST_TENSOR)
        entries = cursor.count("metadata keys", _SHORTEST_ENTRY)
        values: dict[str, Any] = {}
        for _ in range(entries):
            key = cursor.name()
            if key in values:
                cursor.fail(f"it has the key {shown(key)} twice")
            start = cursor.position
            values[key] = cursor.value(int(cursor.number("I")), key)
            self._spans[key] = start, cursor.position
        return values, [cursor.tensor() for _ in range(tensors)]

    def _place(self, infos: list[tuple[str, Kind, tuple[int, ...], int]]) -> dict[str, TensorInfo]:
        cursor = self._cursor
        alignment = self._values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment not in ALIGNMENTS:
            cursor.fail(f"it has the alignment {alignment!r}")
        base = -(-cursor.position // alignment) * alignment
        tensors: dict[str, TensorInfo] = {}
        for name, kind, shape, offset in infos:
            size = math.prod(shape[:-1]) * kind.row_bytes(shape[-1])
            if name in tensors:
                cursor.fail(f"it has the tensor {shown(name)} twice")
            if offset % alignment or base + offset + size > len(self._data):
                cursor.fail(
                    f"the tensor {shown(name)} takes {size} bytes from {offset}, which is "
                    f"{'not aligned' if offset % alignment else 'beyond the end of the file'}"
                )
            tensors[name] = TensorInfo(name, kind, shape, base + offset, size)
        ordered = sorted(tensors.values(), key=lambda info: info.start)
        for first, second in itertools.pairwise(ordered):
            if first.start + first.size > second.start:
                cursor.fail(f"the tensors {shown(first.name)} and {shown(second.name)} overlap")
        return tensors


def _map(path: Path) -> NDArray[np.uint8]:
    try:
        if path.stat().st_size == 0:
            raise ModelFileError(f"{path} is empty; download it again")
        mapped = np.memmap(path, np.uint8, mode="r")
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror})") from error
    return mapped.view(np.ndarray)


class _Cursor:
    """Reads the header from front to back and never past the end of the file."""

    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self.path = path
        self.position = 0
        self._data = data.data

    def fail(self, reason: str) -> NoReturn:
        raise ModelFileError(
            f"{self.path} is not a readable GGUF file ({reason}); download it again"
        )

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._data):
            self.fail(f"it ends where {count} more bytes should follow at {self.position}")
        taken = bytes(self._data[self.position : end])
        self.position = end
        return taken

    def number(self, code: str) -> Any:
        """The next scalar of struct code `code`."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def count(self, what: str, smallest: int) -> int:
        """A 64-bit count of things that take at least `smallest` bytes each."""
        count = int(self.number("Q"))
        left = len(self._data) - self.position
        if count * smallest > left:
            self.fail(f"it announces {count} {what}, and {left} bytes follow")
        return count

    def name(self) -> str:
        length = int(self.number("Q"))
        if length > LONGEST_NAME:
            self.fail(f"a name of {length} bytes at {self.position}")
        return self._text(self.take(length))

    def value(self, kind: int, key: str) -> Any:
        if kind == STRING:
            return self._text(self.take(self.count("characters", 1)))
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == ARRAY:
            return self._array(key)
        return self.fail(f"the key {shown(key)} has the unknown value type {kind}")

    def tensor(self) -> tuple[str, Kind, tuple[int, ...], int]:
        """The next description: name, number format, shape, offset from the data's start."""
        name = self.name()
        dimensions = int(self.number("I"))
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            self.fail(f"the tensor {shown(name)} has {dimensions} dimensions")
        shape = tuple(int(self.number("Q")) for _ in range(dimensions))[::-1]
        code, offset = int(self.number("I")), int(self.number("Q"))
        kind = KINDS.get(code)
        if kind is None:
            raise ModelFileError(
                f"{self.path} holds the tensor {shown(name)} in the number format "
                f"{OTHERS.get(code, code)}; known: {', '.join(BY_NAME)}; "
                "use a file in one of them, such as Q8_0"
            )
        if min(shape) < 1 or math.prod(shape) > 8 * len(self._data):
            self.fail(f"the tensor {shown(name)} has the shape {shape}")
        if shape[-1] % kind.values:
            self.fail(f"{shown(name)} has rows of {shape[-1]}, not whole blocks of {kind.name}")
        return name, kind, shape, offset

    def strings(self, measured: _Strings) -> list[str]:
        """Decode a measured list."""
        data, position, texts = self._data, measured.start, []
        for _ in range(measured.count):
            length = int.from_bytes(data[position : position + 8], "little")
            texts.append(self._text(bytes(data[position + 8 : position + 8 + length])))
            position += 8 + length
        return texts

    def _array(self, key: str) -> Any:
        kind = int(self.number("I"))
        if kind == STRING:
            return self._measure(self._entries("strings", 8, key))
        code = SCALARS.get(kind)
        if code is None:
            self.fail(f"the list {shown(key)} has the value type {kind}, which lists cannot hold")
        width = struct.calcsize("<" + code)
        count = self._entries("numbers", width, key)
        return list(struct.unpack(f"<{count}{code}", self.take(count * width)))

    def _entries(self, what: str, smallest: int, key: str) -> int:
        count = self.count(what, smallest)
        if count > MOST_ENTRIES:  # they become Python objects, eight times their size
            self.fail(f"the list {shown(key)} has {count} {what}, more than {MOST_ENTRIES}")
        return count

    def _measure(self, count: int) -> _Strings:
        """Step over `count` strings."""
        start = position = self.position
        data, end = self._data, len(self._data)
        for _ in range(count):
            if position + 8 > end:
                self.fail(f"it ends within a list of strings at {position}")
            position += 8 + int.from_bytes(data[position : position + 8], "little")
        if position > end:
            self.fail(f"a string at {start} or later reaches beyond the end of the file")
        self.position = position
        return _Strings(start, count)

    def _text(self, data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return self.fail(f"{data[:24]!r} is not UTF-8")
