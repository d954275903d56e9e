"""Reading and embedding on a Ray cluster, for collections that outgrow one machine.

Ray Data runs over the files, and then over the texts that still need a vector; each worker of the
second step holds one model. Only the process that updates the index writes it, and it knows each
file and text by hash: work that a dead worker began is done again elsewhere, and counts once.
"""

import contextlib
import itertools
import json
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from langchain_core.embeddings import Embeddings

from retrievers.errors import RetrievalError
from retrievers.reading import Job, Outcome, outcome_from_json, outcome_to_json
from retrievers.work import Texts, Vectors
from retrievers.workers import WorkerPool

LOCAL: Final = "local"
_MISSING: Final = "Ray is not installed: run `pip install 'deerstalker[ray]'`"
_SLAB: Final = 256  # batches of texts that are handed to the cluster at a time
_FILES: Final = 16  # files of a task, read one after the other by one process


class RayWorkError(RetrievalError):
    """Ray is not there, cannot be reached, or could not do the work."""


@contextlib.contextmanager
def ray_work(
    embeddings: Embeddings, address: str, workers: int | None = None
) -> "Iterator[RayWork]":
    """Work on the cluster at `address`, which is left as it was found.

    Args:
        address: "local" for a cluster in this machine that ends with the context, "auto" for the
            one that runs here, or an address such as ray://head:10001.
        workers: models at work at once; by default one for each node of the cluster.

    Raises:
        RayWorkError: Ray is missing, or there is no cluster at `address`.
    """
    try:
        import ray
        import ray.data
    except ImportError as err:
        raise RayWorkError(_MISSING) from err
    if workers is not None and workers < 1:
        raise RayWorkError(f"{workers} workers are too few: give a number from 1")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options |= {"include_dashboard": False, "num_cpus": max(2, workers or 0)}
    else:
        options["address"] = address
    begun = not ray.is_initialized()
    try:
        if begun:
            ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as err:
        reason = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        raise RayWorkError(
            f"no Ray cluster answers at {address} ({reason}): start one with `ray start --head`, "
            "or give local"
        ) from err
    try:
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]  # Ray leaves it untyped
        with _quiet():
            yield RayWork(embeddings, workers or nodes)
    finally:
        if begun:
            ray.shutdown()


class RayWork:
    """The work of an update, done by the Ray cluster that this process is connected to.

    `embeddings` travels to each worker, so it has to be picklable, and so small without its
    weights; every node must see the documents under the same path.
    """

    def __init__(self, embeddings: Embeddings, workers: int) -> None:
        self._embeddings = embeddings
        self._workers = workers

    def read(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Outcome], None, None]:
        """Each job with what became of it, in the order they are done.

        Raises:
            RayWorkError: the cluster could not end the work.
        """
        if not jobs:
            return
        import ray.data

        rows = [_row(at, job) for at, job in enumerate(jobs)]
        blocks = max(min(len(rows), 2 * self._workers), -(-len(rows) // _FILES))
        done = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            _read_rows, batch_size=None, batch_format="numpy"
        )
        for row in self._rows(done):
            yield jobs[row["at"]], outcome_from_json(json.loads(row["outcome"]))

    def embed(self, batches: Iterable[Texts]) -> Iterator[Vectors]:
        """Each batch with its vectors, in the order they are done.

        Raises:
            RayWorkError: the cluster could not end the work.
        """
        import ray.data

        waiting = iter(batches)
        while slab := list(itertools.islice(waiting, _SLAB)):
            items = [{"hashes": hashes, "texts": texts} for hashes, texts in slab]
            workers = min(self._workers, len(items))
            maker: Any = _Embedder  # Ray makes the object in each worker, its types want a function
            done = ray.data.from_items(items, override_num_blocks=len(items)).map(
                maker,
                fn_constructor_args=(self._embeddings,),
                compute=ray.data.ActorPoolStrategy(size=workers),
            )
            for row in self._rows(done):
                yield Vectors(row["hashes"], row["vectors"])

    def _rows(self, dataset: Any) -> Iterator[Any]:
        from ray.exceptions import RayError

        try:
            yield from dataset.iter_rows()
        except RayError as err:
            raise RayWorkError(f"the Ray cluster could not end the work: {_reason(err)}") from err


class _Embedder:
    """One model in a worker of its own; Ray starts another where that one dies."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embed: Callable[[list[str]], list[list[float]]] = embeddings.embed_documents

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"hashes": list(row["hashes"]), "vectors": self._embed(list(row["texts"]))}


def _row(at: int, job: Job) -> dict[str, Any]:
    """A job in types of Arrow; a name of a file may be no Unicode."""
    file, root = os.fsencode(job.file), os.fsencode(job.root)
    return {"at": at, "sha256": job.sha256, "source": job.source, "file": file, "root": root}


def _read_rows(rows: dict[str, Any]) -> dict[str, Any]:
    """Outcomes as JSON; a file is read by a process with limits, as it is without a cluster."""
    names = zip(rows["sha256"], rows["source"], rows["file"], rows["root"], strict=True)
    jobs = [
        Job(str(sha256), str(source), Path(os.fsdecode(file)), Path(os.fsdecode(root)))
        for sha256, source, file, root in names
    ]
    with WorkerPool(1) as pool:
        outcomes = [json.dumps(outcome_to_json(outcome)) for _, outcome in pool.read(jobs)]
    return {"at": rows["at"], "outcome": outcomes}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Ray's own bars and lines: the update shows its progress itself."""
    import ray.data

    context, log = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    bars, level = context.enable_progress_bars, log.level
    context.enable_progress_bars = False
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = bars
        log.setLevel(level)


def _reason(err: Exception) -> str:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[-1] if lines else type(err).__name__
