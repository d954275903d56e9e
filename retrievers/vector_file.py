"""A file of unit vectors, one after the other as float32, that only ever grows at its end.

What its rows mean, how many of them count and what their bytes hash to is written elsewhere; rows
beyond are what a killed process left, and the next ones overwrite them.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from retrievers.ranking import Floats

BLOCK: Final = 1024  # rows that are hashed together
_NUMBER: Final = 4  # bytes


class VectorFile:
    """Vectors of `dimension` numbers in `path`."""

    def __init__(self, path: Path, dimension: int) -> None:
        self.path = path
        self.dimension = dimension

    def append(self, rows: int, vectors: Floats, *, flush: bool = True) -> None:
        """Write `vectors` (N, D) after the first `rows` rows; they are on the disk if `flush`."""
        fresh = not self.path.exists()
        with self.path.open("wb" if fresh else "r+b") as file:
            file.seek(rows * self.dimension * _NUMBER)
            file.write(np.ascontiguousarray(vectors, dtype="<f4").data)
            file.truncate()
            if flush:
                file.flush()
                os.fsync(file.fileno())
        if fresh:
            flush_folder(self.path.parent)

    def matrix(self, rows: int) -> Floats:
        """The first `rows` rows as a map of the file, (at most rows, D)."""
        width = self.dimension * _NUMBER
        held = min(rows, self.path.stat().st_size // width) if self.path.exists() else 0
        if not held:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.memmap(self.path, dtype="<f4", mode="r", shape=(held, self.dimension))

    def blocks(self, start: int, rows: int) -> Iterator[tuple[int, int, bytes]]:
        """First row, number of rows and SHA-256 of each block from row `start` to `rows`."""
        held = self.matrix(rows)
        for at in range(start, len(held), BLOCK):
            block = held[at : at + BLOCK]
            yield at, len(block), hashlib.sha256(np.ascontiguousarray(block).data).digest()


def flush_folder(folder: Path) -> None:
    """Have the names in `folder` reach the disk, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folder
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
