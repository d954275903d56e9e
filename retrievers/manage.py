"""Indexes as things of their own: what one holds, which there are, and their removal."""

import json
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from retrievers.artefact import MANIFEST
from retrievers.corpus import Corpus
from retrievers.errors import IndexStoreError
from retrievers.exclusions import exclude, read_excluded
from retrievers.generation import build_generation, drop_other_generations
from retrievers.store_errors import DamagedIndexError, store_errors

WAIT: Final = 60.0  # seconds to wait for another process that writes the index
State = Literal["ready", "unfinished", "damaged"]


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """What is known of an index without a look at the files it was made from; sizes in bytes."""

    name: str
    folder: Path
    state: State
    index: str  # hash of the content that a search finds; empty before the first is finished
    paths: tuple[str, ...]
    documents: int
    passages: int
    waiting: int  # texts that have no vector yet
    deleted: int  # files kept out of it
    embedding: str
    store_bytes: int
    search_bytes: int
    skipped: tuple[tuple[str, str], ...]  # file and why it was left out


@dataclass(frozen=True, slots=True)
class Held:
    """A file of an index."""

    source: str
    sha256: str
    passages: int


def is_index(folder: Path) -> bool:
    """Whether an index, or what is left of one, is in `folder`."""
    if (folder / "corpus.sqlite").is_file():
        return True
    # A folder of a person may hold one of that name too, and `delete_index` deletes it.
    return next((folder / "generations").glob(f"*/*/{MANIFEST}"), None) is not None


def find_indexes(place: Path) -> list[Path]:
    """The folders right below `place` that hold an index, and `place` itself if it does."""
    try:
        below = sorted(path for path in place.iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        below = []
    return [path for path in (place, *below) if is_index(path)]


def describe_index(folder: Path) -> IndexFacts:
    """What the index in `folder` holds; a damaged one is described as such.

    Raises:
        IndexStoreError: there is no index in `folder`.
    """
    _require_index(folder)
    corpus, sizes = Corpus(folder), _sizes(folder)
    if not corpus.file.is_file():
        return IndexFacts(folder.name, folder, "damaged", "", (), 0, 0, 0, 0, "", *sizes, ())
    try:
        held, waiting = corpus.manifest(), len(corpus.without_vector())
        named: list[str] = json.loads(corpus.meta("paths") or "[]")
        reasons = corpus.skipped()
        ready = corpus.current() and not waiting
    except (IndexStoreError, sqlite3.Error):
        return IndexFacts(folder.name, folder, "damaged", "", (), 0, 0, 0, 0, "", *sizes, ())
    finally:
        corpus.close()
    return IndexFacts(
        name=folder.name,
        folder=folder,
        state="ready" if ready else "unfinished",
        index=held["index"],
        paths=tuple(named),
        documents=held["documents"],
        passages=held["passages"],
        waiting=waiting,
        deleted=len(read_excluded(folder)),
        embedding=held["embedding"],
        store_bytes=sizes[0],
        search_bytes=sizes[1],
        skipped=tuple(reasons),
    )


def list_documents(folder: Path) -> list[Held]:
    """The files of the index in `folder`, by name; a copy counts the passages it shares.

    Raises:
        IndexStoreError: there is no index in `folder`, or it cannot be read.
    """
    _require_index(folder)
    corpus = Corpus(folder)
    try:
        with corpus.reading():
            counts = corpus.passage_counts()
            return [
                Held(source, row.sha256, counts.get(row.sha256, 0))
                for source, row in sorted(corpus.files().items())
            ]
    finally:
        corpus.close()


def delete_index(folder: Path, wait: float = WAIT) -> None:
    """Delete the index in `folder`; the folder goes too, unless something else is in it.

    The store goes last: where a kill or a failure stops this, the same call ends it.

    Raises:
        IndexStoreError: there is none, it cannot be deleted, or another process writes it.
    """
    _require_index(folder)
    corpus = Corpus(folder)
    with corpus.writing(wait), store_errors(folder):
        for part in ("generations", "dense"):
            if (folder / part).exists():
                shutil.rmtree(folder / part)
        for file in (*folder.glob(".excluded.json.*"), folder / "excluded.json"):
            file.unlink(missing_ok=True)
        corpus.unlink()
        (folder / "lock").unlink(missing_ok=True)
    with store_errors(folder):
        if not any(folder.iterdir()):
            folder.rmdir()


def delete_documents(
    folder: Path, sources: Sequence[str], wait: float = WAIT, *, with_vectors: bool = True
) -> list[str]:
    """Take files out of the index in `folder`, for good; returns what a person should know.

    A text that another file holds too stays if it stands under the name of that file, or comes
    back under it with the next update. Without vectors, another engine holds them: the caller
    takes them out there.

    Raises:
        IndexStoreError: a source is not in the index, or an update has to finish it first.
    """
    _require_index(folder)
    corpus = Corpus(folder)
    try:
        with corpus.writing(wait):
            corpus.check()
            files = corpus.files()
            unknown = [source for source in sources if source not in files]
            if unknown:
                raise IndexStoreError(
                    f"{unknown[0]} is not in the index {folder}: `show` lists what is"
                )
            if corpus.without_vector():
                raise IndexStoreError(f"the index {folder} is unfinished: update it first")
            copies = {row.sha256: s for s, row in files.items() if s not in set(sources)}
            held = {sha256: row.source for sha256, row in corpus.documents().items()}
            exclude(folder, sources)
            # The name of the first file is in titles, and so in what is searched.
            corpus.leave(sha256 for sha256, first in held.items() if first in set(sources))
            state = corpus.content_hash()
            build_generation(corpus, state, with_vectors)
            corpus.publish(state)
            # Last, so that after a kill the same call ends it.
            corpus.forget_files(sources)
            drop_other_generations(corpus, state)
            corpus.wipe()
            return [
                f"{copies[files[source].sha256]} holds the same text"
                + ("; the next update takes it in again" if source in held.values() else "")
                for source in sources
                if files[source].sha256 in copies
            ]
    except DamagedIndexError as err:
        raise IndexStoreError(f"{err}: update it first, which rebuilds it") from err
    finally:
        corpus.close()


def _require_index(folder: Path) -> None:
    if not is_index(folder):
        raise IndexStoreError(f"there is no index in {folder}: name another, or build one")


def _sizes(folder: Path) -> tuple[int, int]:
    """Bytes of the store and of the search structures."""
    store = sum(file.stat().st_size for file in folder.glob("corpus.sqlite*"))
    search = sum(f.stat().st_size for f in (folder / "generations").rglob("*") if f.is_file())
    return store, search
