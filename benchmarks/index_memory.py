"""How much memory indexing takes as the folder grows, stage by stage.

    python -m benchmarks.index_memory --files 500 4000

For each size, files of a few pages are cut from a book and indexed by a new process; vectors of 384
numbers are drawn from the hash of a text, so that no model is in the figures. The table shows the
highest resident memory at the end of each stage, in MB above that at the start. Reading and
embedding should not grow with the folder; writing holds the search structures. The last line of
stdout is JSON.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from langchain_core.embeddings import Embeddings

from llm_core.bench.report import table

BOOK: Final = (
    Path(__file__).resolve().parents[1] / "samples" / "the-adventures-of-sherlock-holmes.txt"
)
PIECE: Final = 3000  # characters of a file
STAGES: Final = ("checking", "reading", "embedding", "writing")
_CHILD: Final = "from benchmarks.index_memory import index; index({folder!r})"


class HashedVectors(Embeddings):
    """A vector for each text, by its hash."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector (384) for each text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector (384) of a text."""
        chance = np.random.default_rng(zlib.crc32(text.encode()))
        return [float(x) for x in chance.standard_normal(384, dtype=np.float32)]


def index(folder: str) -> None:
    """Index `folder`/docs; prints the highest memory at the end of each stage, in bytes."""
    from retrievers.corpus import Corpus
    from retrievers.indexing import update_index

    peaks = {"start": _peak()}

    def note(stage: str, *_: int) -> None:
        peaks[stage] = _peak()

    place = Path(folder)
    report = update_index(Corpus(place / "index"), [place / "docs"], HashedVectors(), note)
    peaks["writing"] = _peak()
    print(json.dumps({"passages": report.passages, **peaks}))


def _peak() -> int:
    """The highest resident memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(files: int, seed: int) -> dict[str, int]:
    """Index `files` files in a new process."""
    book, chance = BOOK.read_text(encoding="utf-8"), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="index-memory-") as folder:
        docs = Path(folder) / "docs"
        docs.mkdir()
        for number in range(files):
            at = chance.randrange(len(book) - PIECE)
            (docs / f"{number:06}.txt").write_text(
                f"File {number}.\n\n{book[at : at + PIECE]}", encoding="utf-8"
            )
        child = [sys.executable, "-c", _CHILD.format(folder=folder)]
        root = Path(__file__).resolve().parents[1]
        done = subprocess.run(child, cwd=root, check=True, capture_output=True, text=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="index_memory", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--files", type=int, nargs="+", default=[500, 4000])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    found = {files: measure(files, given.seed) for files in given.files}
    rows = [
        [
            str(files),
            str(peaks["passages"]),
            *(f"{(peaks[stage] - peaks['start']) / 1e6:.0f}" for stage in STAGES),
        ]
        for files, peaks in found.items()
    ]
    print("\n".join(table(["files", "passages", *STAGES], rows)))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
