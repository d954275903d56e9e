"""Search at ten thousand to a million vectors: latency, recall, memory, and what filters cost.

    python -m benchmarks.vector_search BEIR_FOLDER --json vector_search.json

Real vectors of the corpus and the questions in BEIR_FOLDER, embedded by the packaged model; sizes
beyond the corpus are filled with its vectors plus random ones of `--jitter` times their length, so
only time, memory and the recall of the approximate indexes against the exact one mean anything.
Each question is asked of every index in turn, without a filter and with random ones that leave a
share of the vectors. Recall is that of the ten nearest. Processor time is that of the asking
thread. Then the vectors are stored in a folder as documents, and another process opens it and
searches. A million vectors take 5 GiB of memory and 4 GiB of disk; a graph of so many takes a
quarter of an hour of processor time (`--graph-limit`).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from graphs.errors import UserError
from graphs.evaluate.beir import load_beir
from llm_core.bench.report import table
from llm_core.errors import ModelError
from retrievers.approximate import Kind, Policy
from retrievers.dense import VectorIndex, unit_rows
from retrievers.errors import RetrievalError
from retrievers.faiss_store import FaissStore

SIZES: Final = (10_000, 100_000, 1_000_000)
KINDS: Final[tuple[Kind, ...]] = ("flat", "hnsw", "ivf")
SHARES: Final = (None, 0.5, 0.1, 0.01, 0.001)  # of the vectors that a filter leaves
NEAREST: Final = 10
_BATCH: Final = 20_000  # documents stored at once
_MIB: Final = 2**20

Array = NDArray[np.float32]
Search = Callable[[Array], list[tuple[str, float]]]


class KnownVectors(Embeddings):
    """The vectors of the benchmark's questions; documents come with theirs."""

    def __init__(self, dimension: int) -> None:
        self.model_hash = f"benchmark of {dimension} numbers"  # however the module is called

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Never asked: every document comes with its vector."""
        raise NotImplementedError

    def embed_query(self, text: str) -> list[float]:
        """The vector that is spelled by `text`."""
        vector: list[float] = json.loads(text)
        return vector


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = _arguments(argv)
    if given.probe is not None:
        print(json.dumps(probe(given.probe, given.data)))
        return 0
    try:
        report = measure(given)
    except (ModelError, RetrievalError, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines(report)))
    return 0


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Every figure by size; they reach `--json` size by size."""
    vectors, queries = real_vectors(given.data, given.cache, given.queries, given.seed)
    report: dict[str, Any] = {
        "corpus": len(vectors),
        "questions": len(queries),
        "jitter": given.jitter,
        "seed": given.seed,
        "sizes": {},
    }
    for size in given.sizes:
        rows = grown(vectors, size, given.jitter, given.seed)
        kinds = [kind for kind in KINDS if kind != "hnsw" or size <= given.graph_limit]
        found = {"indexes": compare(rows, queries, kinds, given.seed)}
        if not given.no_store:
            found["store"] = stored(rows, queries)
        report["sizes"][str(size)] = found
        if given.json:
            given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def real_vectors(data: Path, cache: Path | None, count: int, seed: int) -> tuple[Array, Array]:
    """Unit vectors of every document of a corpus (N, D) and of `count` questions (Q, D)."""
    from graphs.evaluate.vectors import CachedEmbeddings
    from llm_core import LocalEmbeddings
    from retrievers.ranking import searchable_text

    corpus = load_beir(data, "train" if (data / "qrels" / "train.tsv").exists() else "test")
    model: Embeddings = LocalEmbeddings()
    model = CachedEmbeddings(model, cache) if cache else model
    texts = [searchable_text(document) for document in corpus.documents()]
    _say(f"embedding {len(texts)} documents")
    vectors = unit_rows(model.embed_documents(texts))
    asked = list(corpus.sample(count, seed).queries.values())
    return vectors, unit_rows([model.embed_query(text) for text in asked])


def grown(vectors: Array, size: int, jitter: float, seed: int) -> Array:
    """`size` unit vectors (size, D): the real ones, then copies with noise of a relative length."""
    rng = np.random.default_rng(seed)
    rows = np.empty((size, vectors.shape[1]), dtype=np.float32)
    for at in range(0, size, len(vectors)):
        part = rows[at : at + len(vectors)]
        part[:] = vectors[: len(part)]
        if at:
            noise = rng.standard_normal(part.shape, dtype=np.float32)
            part += noise * (jitter / np.sqrt(part.shape[1]))
    return unit_rows(rows)


def compare(rows: Array, queries: Array, kinds: Sequence[Kind], seed: int) -> dict[str, Any]:
    """Every kind of index over the same rows: building, memory, latency, recall."""
    report: dict[str, Any] = {}
    indexes: dict[Kind, VectorIndex] = {}
    for kind in kinds:
        _say(f"{len(rows):,} vectors: building {kind}")
        indexes[kind], report[kind] = built(kind, rows)
    rng = np.random.default_rng(seed)
    for share in SHARES:
        mask = None if share is None else rng.random(len(rows)) < share
        systems: dict[str, Search] = {
            kind: partial(index.search_rows, k=NEAREST, mask=mask)
            for kind, index in indexes.items()
        }
        _say(f"{len(rows):,} vectors: asking, filter leaves {share or 'all'}")
        for name, figures in in_turn(systems, queries).items():
            report[name]["none" if share is None else str(share)] = figures
    return report


def built(kind: Kind, rows: Array) -> tuple[VectorIndex, dict[str, Any]]:
    """An index of one kind over `rows`, and what it costs besides them."""
    index = VectorIndex(replace(Policy(), kind=kind, outside_limit=0))
    index.restore([str(row) for row in range(len(rows))], rows)
    start = time.process_time()
    index.promote()
    seconds = time.process_time() - start
    size = 0
    if index.approximate is not None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "index"
            index.approximate.save(file)
            size = file.stat().st_size
    return index, {"built_cpu_s": round(seconds, 1), "index_mib": round(size / _MIB, 1)}


def in_turn(systems: Mapping[str, Search], queries: Array) -> dict[str, dict[str, float]]:
    """Ask each question of every system; the first system is exact and sets the recall."""
    wall: dict[str, list[float]] = {name: [] for name in systems}
    work: dict[str, list[float]] = {name: [] for name in systems}
    same: dict[str, list[float]] = {name: [] for name in systems}
    for search in systems.values():
        search(queries[0])  # the first use pays for what is made once
    for query in queries:
        exact: set[str] = set()
        for number, (name, search) in enumerate(systems.items()):
            start, used = time.perf_counter(), time.thread_time()
            found = {id_ for id_, _ in search(query)}
            work[name].append(time.thread_time() - used)
            wall[name].append(time.perf_counter() - start)
            exact = found if number == 0 else exact
            same[name].append(len(found & exact) / max(1, len(exact)))
    return {
        name: {**_times(wall[name], work[name]), "recall": round(float(np.mean(same[name])), 4)}
        for name in systems
    }


def _times(wall: Sequence[float], work: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    return {
        "p50_ms": round(1e3 * float(np.median(wall)), 3),
        "p99_ms": round(1e3 * float(np.quantile(wall, 0.99)), 3),
        "cpu_p50_ms": round(1e3 * float(np.median(work)), 3),
    }


def stored(rows: Array, queries: Array) -> dict[str, Any]:
    """The rows as documents in a folder, then what another process says of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "store"
        store = FaissStore.open(folder, KnownVectors(rows.shape[1]))
        start, used = time.perf_counter(), time.process_time()
        for at in range(0, len(rows), _BATCH):
            _say(f"{len(rows):,} vectors: storing, {at:,} done")
            documents = [
                Document(id=str(n), page_content=f"text {n}", metadata={"hundredth": n % 100})
                for n in range(at, min(at + _BATCH, len(rows)))
            ]
            store.add_vectors(documents, rows[at : at + _BATCH])
        seconds, work = time.perf_counter() - start, time.process_time() - used
        store.close()
        asked = Path(name) / "queries.npy"
        np.save(asked, queries)
        said = subprocess.run(
            [sys.executable, "-m", "benchmarks.vector_search", "--probe", str(folder), str(asked)],
            cwd=Path(__file__).resolve().parents[1],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        found: dict[str, Any] = json.loads(said.stdout)
    return {
        "stored_s": round(seconds, 1),
        "stored_cpu_s": round(work, 1),
        "disk_mib": round(size / _MIB, 1),
        **found,
    }


def probe(folder: Path, asked: Path) -> dict[str, Any]:
    """Open a store and search it, in a process that has done nothing else."""
    queries = np.load(asked)
    empty = _resident()
    found: dict[str, Any] = {}
    model = KnownVectors(queries.shape[1])
    for verify in (True, False):
        start = time.perf_counter()
        store = FaissStore.open(folder, model, verify=verify)
        found["opened_s" if verify else "opened_unchecked_s"] = round(
            time.perf_counter() - start, 2
        )
        if verify:
            store.close()
    for name, where in {
        "none": None,
        "0.1": {"hundredth": {"$lt": 10}},
        "0.01": {"hundredth": 7},
    }.items():
        start = time.perf_counter()
        store.similarity_search_by_vector(queries[0].tolist(), NEAREST, filter=where)
        first = time.perf_counter() - start
        wall: list[float] = []
        work: list[float] = []
        for query in queries.tolist():
            start, used = time.perf_counter(), time.thread_time()
            store.similarity_search_by_vector(query, NEAREST, filter=where)
            work.append(time.thread_time() - used)
            wall.append(time.perf_counter() - start)
        found[name] = {"first_ms": round(1e3 * first, 1), **_times(wall, work)}
    return {"memory_mib": round(_resident() - empty, 1), **found}


def _resident() -> float:
    """MiB of this process's own memory, without the maps of files; 0 where /proc has no word."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def lines(report: Mapping[str, Any]) -> list[str]:
    """The report as Markdown."""
    said = [
        f"{report['questions']} questions over {report['corpus']:,} real vectors and jittered "
        f"copies ({report['jitter']}), seed {report['seed']}; ten nearest; times in ms.",
        "",
    ]
    heads = ["vectors", "index", "filter leaves", "median", "p99", "processor", "recall"]
    rows = [
        [f"{int(size):,}", kind, share, *(str(figures[share][key]) for key in _SHOWN)]
        for size, found in report["sizes"].items()
        for kind, figures in found["indexes"].items()
        for share in figures
        if isinstance(figures[share], Mapping)
    ]
    costs = [
        [f"{int(size):,}", kind, str(figures["built_cpu_s"]), str(figures["index_mib"])]
        for size, found in report["sizes"].items()
        for kind, figures in found["indexes"].items()
    ]
    said += [*table(heads, rows), ""]
    said += table(["vectors", "index", "building, s of processor", "index, MiB"], costs)
    return said + _store_lines(report)


_SHOWN: Final = ("p50_ms", "p99_ms", "cpu_p50_ms", "recall")


def _store_lines(report: Mapping[str, Any]) -> list[str]:
    heads = ["vectors", "stored, s", "disk, MiB", "opened, s", "unchecked, s", "memory, MiB"]
    heads += ["median", "p99", "a tenth", "a hundredth", "first filter"]
    keys = ["stored_s", "disk_mib", "opened_s", "opened_unchecked_s", "memory_mib"]
    rows = [
        [
            f"{int(size):,}",
            *(str(found["store"][key]) for key in keys),
            *(str(found["store"]["none"][key]) for key in ("p50_ms", "p99_ms")),
            *(str(found["store"][share]["p50_ms"]) for share in ("0.1", "0.01")),
            str(found["store"]["0.1"]["first_ms"]),
        ]
        for size, found in report["sizes"].items()
        if "store" in found
    ]
    return ["", "The store in a folder, opened by another process:", "", *table(heads, rows)]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vector_search")
    parser.add_argument("data", type=Path, metavar="BEIR_FOLDER")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--jitter", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--graph-limit", type=int, default=100_000, help="vectors in a graph")
    parser.add_argument("--no-store", action="store_true", help="only the indexes in memory")
    parser.add_argument("--cache", type=Path, help="folder that keeps the real vectors")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--probe", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
