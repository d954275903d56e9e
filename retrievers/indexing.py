"""Bring an index up to date with the files: read what changed, embed it, forget what is gone.

Files are known by the hash of their bytes and texts by the hash of what is searched, so a renamed
or copied file costs no embedding, and a changed one only that of its new passages.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from langchain_core.embeddings import Embeddings

from retrievers.artefact import ArtefactError
from retrievers.bm25 import K1, B, BM25Index
from retrievers.corpus import Corpus
from retrievers.dense import DenseIndex, VectorIndex, embedding_name
from retrievers.documents import unicode_name
from retrievers.errors import TOO_SLOW, DocumentError, IndexStoreError, RetrievalError
from retrievers.exclusions import name_hash, read_excluded
from retrievers.generation import build_generation, drop_other_generations, load_generation
from retrievers.ranking import searchable_text
from retrievers.rows import DocumentRow, FileRow, NewDocument, searched_hash
from retrievers.store_errors import DamagedIndexError, ReadOnlyIndexError
from retrievers.work import LocalWork, Texts, Work

if TYPE_CHECKING:
    from retrievers.reading import Job

Progress: TypeAlias = Callable[[str, int, int], None]

# Raise the number when loaders, chunking or terms change: every file is then read again.
RECIPE: Final = f"4 k1={K1} b={B}"
BATCH: Final = 64  # passages embedded in one transaction: what a killed process can lose
GROUP: Final = 100  # documents and passages stored in one transaction, or one larger document
WAIT: Final = 600.0  # seconds to wait for another process that builds the same index
_SETTLED_NS: Final = 3 * 10**9  # a file touched later than this before the look is hashed again


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an update did, in files; `skipped` names each file left out and why."""

    indexed: int
    unchanged: int
    removed: int
    skipped: list[tuple[str, str]]
    passages: int
    seconds: float
    notices: list[str] = field(default_factory=list)  # what was mended, one line each


def update_index(
    corpus: Corpus,
    paths: Sequence[Path],
    embeddings: Embeddings,
    progress: Progress | None = None,
    wait: float = WAIT,
    work: Work | None = None,
    vectors: str | None = None,
) -> IndexReport:
    """Make `corpus` hold exactly the documents under `paths`.

    Args:
        progress: called with a stage ("waiting", "checking", "reading", "embedding", "writing"),
            how much of it is done, and its total.
        wait: seconds to wait for another process that holds the index.
        work: reads and embeds in place of this process, such as on a cluster.
        vectors: address of an engine that holds the vectors (see `retrievers.vector_server`).

    Raises:
        RetrievalError: a path is missing or holds no readable file.
        IndexStoreError: the index folder cannot be written while there is something to write, or
            another process keeps it.
    """
    return open_index(corpus, paths, embeddings, progress, wait, work, vectors)[0]


def open_index(
    corpus: Corpus,
    paths: Sequence[Path],
    embeddings: Embeddings,
    progress: Progress | None = None,
    wait: float = WAIT,
    work: Work | None = None,
    vectors: str | None = None,
) -> tuple[IndexReport, BM25Index, DenseIndex]:
    """As `update_index`; the search structures come with the report."""
    from retrievers.discover import common_root, discover

    roots = [Path(os.path.normpath(path.expanduser().absolute())) for path in paths]
    barred: list[OSError] = []
    files, root = discover(roots, barred.append), common_root(roots)
    if not files:
        why = "".join(f" ({error.filename}: {error.strerror})" for error in barred[:3])
        raise RetrievalError(
            f"no document in {_names(paths)}{why}: name a folder that holds documents, such as"
            " txt, md, html, pdf, docx, pptx, xlsx, csv, eml, epub or source code"
        )
    say: Progress = progress or (lambda _stage, _done, _total: None)
    sources = {_source(file, root): file for file in files}
    folders = {_source(Path(e.filename), root) + "/": e.strerror or str(e) for e in barred}
    started, notices = time.monotonic(), list[str]()
    work = work or LocalWork(embeddings)
    name = embedding_name(embeddings)

    def begin() -> _Update:
        return _Update(corpus, sources, root, name, work, say, notices, folders)

    try:
        with corpus.writing(wait, lambda: say("waiting", 0, 0)):
            update, lexical, dense = _run(corpus, begin, notices, with_vectors=vectors is None)
            _settle(corpus, roots, notices)
            served = None if vectors is None else _serve(corpus, vectors, embeddings, lexical, say)
            corpus.pin_manifest()
    except ReadOnlyIndexError:
        notices.clear()
        if vectors is not None or not corpus.file.exists() or not (update := begin()).is_current():
            raise
        (lexical, dense), served = stored_index(corpus), None
        corpus.pin_manifest()
        notices.append(f"{corpus.folder} cannot be written; the index in it is up to date")
    report = update.report(time.monotonic() - started, len(lexical))
    if not report.passages:
        reasons = "; ".join(f"{source}: {reason}" for source, reason in report.skipped[:3])
        reasons = reasons or "; ".join(notices)
        raise RetrievalError(f"no file in {_names(paths)} could be read ({reasons})")
    return report, lexical, served or dense


def _run(
    corpus: Corpus, begin: "Callable[[], _Update]", notices: list[str], *, with_vectors: bool
) -> "tuple[_Update, BM25Index, VectorIndex]":
    """Update the store; one that is damaged is made anew."""
    try:
        corpus.check()
        update = begin()
        return update, *update.run(with_vectors=with_vectors)
    except DamagedIndexError as err:
        notices.append(f"{err}; it was rebuilt from the files")
        corpus.reset()
        update = begin()
        return update, *update.run(with_vectors=with_vectors)


def _settle(corpus: Corpus, roots: Sequence[Path], notices: list[str]) -> None:
    """After an update: note what the index is of, and leave nothing of what was deleted."""
    if corpus.meta("paths") != (named := json.dumps([str(path) for path in roots])):
        corpus.set_meta(paths=named)
    try:
        corpus.wipe()
    except IndexStoreError as err:  # the index is whole: it should answer
        notices.append(f"texts that were deleted may still be on the disk: {err}")


def _serve(
    corpus: Corpus, address: str, embeddings: Embeddings, lexical: BM25Index, say: Progress
) -> DenseIndex:
    from retrievers.vector_server import served_vectors

    say("sending", 0, 1)
    return served_vectors(corpus, address, embeddings, lexical.ids)


def stored_index(corpus: Corpus) -> tuple[BM25Index, VectorIndex]:
    """The search structures as they were last published, without a look at the files.

    They stay whole while an update runs, and after one that was killed or met a full disk.

    Raises:
        IndexStoreError: there are none yet, or the store cannot be read.
        ArtefactError: they are damaged; the next update rebuilds them.
    """
    state = corpus.meta("state") if corpus.file.exists() else ""
    if not state:
        raise IndexStoreError(f"there is no finished index in {corpus.folder}: build it first")
    return load_generation(corpus, state)


class _Update:
    """One update of an index, step by step; the caller holds the index."""

    def __init__(
        self,
        corpus: Corpus,
        files: dict[str, Path],
        root: Path,
        embedding: str,
        work: Work,
        say: Progress,
        notices: list[str],
        folders: dict[str, str],  # source of a folder that cannot be listed: reason
    ) -> None:
        self.corpus, self.files, self.root, self.say = corpus, files, root, say
        self.embedding, self.work, self.notices = embedding, work, notices
        self.before = corpus.files()
        self._keep_out(read_excluded(corpus.folder))
        self.seen: dict[str, FileRow] = {}
        # source: reason; not kept, may pass
        self.unreadable = {name: self._barred(name, why) for name, why in folders.items()}

    def _keep_out(self, names: frozenset[str]) -> None:
        """Pass over the files that were deleted from the index and are still in their folder."""
        out = {source for source in self.files if name_hash(source) in names}
        self.files = {source: file for source, file in self.files.items() if source not in out}
        if out:
            count = "1 file stays" if len(out) == 1 else f"{len(out)} files stay"
            self.notices.append(f"{count} out of the index, having been deleted from it")

    def _barred(self, folder: str, reason: str) -> str:
        """Why a folder is left out, and how many of its files leave the index with it."""
        lost = sum(source.startswith(folder) for source in self.before)
        gone = f"; {lost} of its files left the index, until it can be read" if lost else ""
        return f"cannot be read: {reason}{gone}"

    def run(self, *, with_vectors: bool) -> tuple[BM25Index, VectorIndex]:
        self._prepare()
        self._look()
        self._read()
        self._embed()
        return self._publish(with_vectors)

    def is_current(self) -> bool:
        """Whether the published state is of just these files; nothing is written."""
        root = unicode_name(str(self.root))
        facts = {"recipe": RECIPE, "embedding": self.embedding, "root": root}
        if not self.corpus.current() or any(self.corpus.meta(k) != v for k, v in facts.items()):
            return False
        self._look()
        seen = {source: row.sha256 for source, row in self.seen.items()}
        known = {source: row.sha256 for source, row in self.before.items()}
        return seen == known and self.corpus.documents().keys() == set(seen.values())

    def _prepare(self) -> None:
        """Note another recipe, model or folder than last time."""
        if self.corpus.meta("recipe") != RECIPE:
            self.corpus.start_over(RECIPE)
        if self.corpus.meta("embedding") != self.embedding:
            if self.corpus.meta("embedding"):
                self.notices.append("the embedding model changed; every passage is embedded again")
            self.corpus.use_embedding(self.embedding)
        root, before = unicode_name(str(self.root)), self.corpus.meta("root")
        if before != root:
            if before:
                self.notices.append(f"the index held {before}; it now holds {root}")
            self.corpus.set_meta(root=root)

    def _look(self) -> None:
        """Hash each file whose stamp is not the one stored."""
        for done, (source, file) in enumerate(self.files.items()):
            self.say("checking", done, len(self.files))
            try:
                self.seen[source] = self._file_row(source, file)
            except DocumentError as err:
                self.unreadable[source] = str(err)
            except OSError as err:
                self.unreadable[source] = f"cannot be read: {err.strerror or err}"
        self.say("checking", len(self.files), len(self.files))

    def _file_row(self, source: str, file: Path) -> FileRow:
        from retrievers.loaders import MAX_BYTES, load_document, require_regular

        facts, now = file.stat(), time.time_ns()
        require_regular(facts.st_mode)
        if facts.st_size > MAX_BYTES:
            load_document(file, self.root)  # says that it is too large, without reading it
        stamp = f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}:{facts.st_ino}"
        known = self.before.get(source)
        if known is not None and known.stamp == stamp:
            return known
        with file.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        settled = now - max(facts.st_mtime_ns, facts.st_ctime_ns) > _SETTLED_NS
        return FileRow(sha256, stamp if settled else "")

    def _read(self) -> None:
        """Forget what is gone, then read each document that is new or has another first file."""
        jobs = self._forget_and_list()
        if jobs:
            self.say("reading", 0, len(jobs))
        new: list[NewDocument] = []
        with contextlib.closing(self.work.read(jobs)) as outcomes:
            for done, (job, outcome) in enumerate(outcomes, 1):
                self.notices += outcome.notes
                if outcome.document is None:
                    self.seen.pop(job.source)
                    self.unreadable[job.source] = "it changed while it was read: run again"
                else:
                    new.append(outcome.document)
                if done == len(jobs) or sum(1 + len(d.passages) for d in new) >= GROUP:
                    self.corpus.put_documents(new)
                    new = []
                self.say("reading", done, len(jobs))
        changed = {s: row for s, row in self.seen.items() if self.before.get(s) != row}
        if changed:
            self.corpus.put_files(changed)

    def _forget_and_list(self) -> "list[Job]":
        """Note what is gone; what is to be read, once for all files of the same bytes."""
        from retrievers.reading import Job

        first: dict[str, str] = {}
        for source in sorted(self.seen):
            first.setdefault(self.seen[source].sha256, source)
        held = self.corpus.documents()
        gone = self.before.keys() - self.seen.keys()
        if gone:
            self.corpus.forget_files(sorted(gone))
        self.corpus.leave(held.keys() - first.keys())
        retried = self._touched_since_given_up(held)
        return [
            Job(sha256, source, self.files[source], self.root)
            for sha256, source in first.items()
            if sha256 not in held or held[sha256].source != source or sha256 in retried
        ]

    def _touched_since_given_up(self, held: dict[str, DocumentRow]) -> set[str]:
        """Hashes of documents that were too slow to read, and whose files are touched since.

        Not at every update: the limit is minutes, and every question brings the index up to date.
        """
        slow = {sha256 for sha256, row in held.items() if (row.reason or "").startswith(TOO_SLOW)}
        return {
            row.sha256
            for source, row in self.seen.items()
            if row.sha256 in slow and row != self.before.get(source)
        }

    def _embed(self) -> None:
        """Embed every text that has no vector, a batch for each transaction."""
        ids, done = self.corpus.without_vector(), 0
        if ids:
            self.say("embedding", 0, len(ids))
        for hashes, vectors in self.work.embed(self._batches(ids)):
            self.corpus.put_vectors(hashes, vectors)
            done += len(hashes)
            self.say("embedding", done, len(ids))

    def _batches(self, ids: list[str]) -> Iterator[Texts]:
        for at in range(0, len(ids), BATCH):
            found = self.corpus.fetch(ids[at : at + BATCH])
            yield Texts([searched_hash(one) for one in found], [searchable_text(o) for o in found])

    def _publish(self, with_vectors: bool) -> tuple[BM25Index, VectorIndex]:
        """Load the search structures of the present state, or make them."""
        state = self.corpus.current()
        if state:
            try:
                loaded = load_generation(self.corpus, state, with_vectors)
                drop_other_generations(self.corpus, state)
                return loaded
            except ArtefactError as err:
                self.notices.append(f"{err}; it was rebuilt from the stored passages")
        self.say("writing", 0, 1)
        state = self.corpus.content_hash()
        built = build_generation(self.corpus, state, with_vectors)
        self.corpus.publish(state)
        drop_other_generations(self.corpus, state)
        self.say("writing", 1, 1)
        return built

    def skipped(self) -> list[tuple[str, str]]:
        """Each file left out and why, by name."""
        reasons = {sha: row.reason for sha, row in self.corpus.documents().items() if row.reason}
        found = dict(self.unreadable)
        for source, row in self.seen.items():
            if row.sha256 in reasons:
                found[source] = str(reasons[row.sha256])
        return sorted(found.items())

    def report(self, seconds: float, passages: int) -> IndexReport:
        """Counts over files: a copy of a document counts as a file of its own."""
        skipped = self.skipped()
        named = {source for source, _ in skipped}
        good = [source for source in self.seen if source not in named]
        known = {source: row.sha256 for source, row in self.before.items()}
        unchanged = sum(known.get(source) == self.seen[source].sha256 for source in good)
        return IndexReport(
            indexed=len(good) - unchanged,
            unchanged=unchanged,
            removed=len(self.before.keys() - self.files.keys()),
            skipped=skipped,
            passages=passages,
            seconds=seconds,
            notices=list(self.notices),
        )


def _source(file: Path, root: Path) -> str:
    path = file.relative_to(root) if file.is_relative_to(root) else file
    return unicode_name(path.as_posix())


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths) or "an empty list of paths"
