"""The `retrieval` command: rankings of several searches against relevance judgements.

Every question is put to all contenders in turn, so that a busy moment slows all of them. What
was asked is kept as it comes; the same command goes on after Ctrl-C.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graphs.errors import EXPECTED_ERRORS, UserError
from graphs.evaluate.beir import Corpus, load_beir
from graphs.evaluate.contenders import (
    ABLATION,
    OURS,
    PARAGRAPH_SYSTEMS,
    SYSTEMS,
    Search,
    build_contender,
    check_contenders,
    index_corpus,
)
from graphs.evaluate.given import RetrievalGiven, ThaiGiven
from graphs.evaluate.ir_metrics import measure
from graphs.evaluate.paragraphs import paragraph_corpus
from graphs.evaluate.progress import progress_bar
from graphs.evaluate.retrieval_report import Ranking, make_report, print_report
from graphs.evaluate.rows import RowFile, alone, program_hash
from graphs.settings import load_settings, settle_process
from graphs.stopping import EXIT_STOPPED, StopSignal

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from graphs.console import Progress

KEPT: Final = 10  # ids of a ranking that a row keeps
Rows = dict[str, RowFile[Ranking]]


@dataclass(frozen=True)
class Contest:
    """One corpus, the systems that search it, and the folder of their rows."""

    corpus: Corpus
    systems: tuple[str, ...]
    seed: int
    work: Path

    @property
    def folder(self) -> Path:
        """Where the rows are kept: the same contest always has the same folder."""
        known = hashlib.sha256(self.corpus.digest().encode()).hexdigest()
        return self.work / f"{self.corpus.name}-{self.corpus.split}-{known[:12]}"


def run_retrieval(given: RetrievalGiven, embeddings: "Embeddings | None" = None) -> int:
    """Measure and report; an expected error becomes one line on stderr and exit code 2."""
    return _run(given, lambda: load_beir(given.data.expanduser(), given.split), SYSTEMS, embeddings)


def run_thai(given: ThaiGiven, embeddings: "Embeddings | None" = None) -> int:
    """The same over paragraphs, with the words between spaces as a contender."""

    def load() -> Corpus:
        return paragraph_corpus(given.data, given.ask, given.language)

    return _run(given, load, PARAGRAPH_SYSTEMS, embeddings)


def _run(
    given: RetrievalGiven | ThaiGiven,
    load: Callable[[], Corpus],
    known: Sequence[str],
    embeddings: "Embeddings | None",
) -> int:
    settle_process()
    stop = StopSignal()
    try:
        with stop.watching(), progress_bar(sys.stderr, quiet=given.quiet) as progress:
            contest = _contest(given, load(), known)
            if given.fresh:
                shutil.rmtree(contest.folder, ignore_errors=True)
            model = _embeddings(given, progress, embeddings)
            rows = ask_all(contest, model, stop, progress)
        if stop.event.is_set():
            return _stopped()
        report = make_report(rows_of(rows), contest.corpus, contest.seed)
        report["settings"]["embeddings"] = _identity(model)
        _show(report, given)
    except EXPECTED_ERRORS as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _stopped()
    return 0


def ask_all(
    contest: Contest, embeddings: "Embeddings", stop: StopSignal, progress: "Progress"
) -> Rows:
    """Put every question to every system that was not asked it yet."""
    folder = contest.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {folder} ({error.strerror}): give --work") from error
    with alone(folder):
        files = {name: RowFile(folder, name, Ranking) for name in contest.systems}
        for file in files.values():
            file.begin({"program": program_hash("retrieval"), "model": _identity(embeddings)})
        asked = list(contest.corpus.queries)
        if any(len(file.rows) < len(asked) for file in files.values()):
            shared = index_corpus(contest.corpus.documents(), embeddings, progress)
            searches = {name: build_contender(name, shared) for name in contest.systems}
            _ask(contest.corpus, searches, files, stop, progress)
    return files


def _ask(
    corpus: Corpus,
    searches: Mapping[str, Search],
    files: Rows,
    stop: StopSignal,
    progress: "Progress",
) -> None:
    ids = list(corpus.queries)
    names = list(searches)
    with stop.between_steps():
        for search in searches.values():
            search(corpus.queries[ids[-1]])  # loads the weights, unmeasured
        for at, id_ in enumerate(ids):
            progress("asking", at, len(ids))
            for name in names[at % len(names) :] + names[: at % len(names)]:
                if stop.event.is_set():
                    return
                if at not in files[name].rows:
                    files[name].add(_ranking(at, id_, corpus, searches[name]))
    progress("asking", len(ids), len(ids))


def _ranking(at: int, id_: str, corpus: Corpus, search: Search) -> Ranking:
    begun, used = time.perf_counter(), time.process_time()
    found = search(corpus.queries[id_])
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    return Ranking(
        at=at,
        query=id_,
        figures={name: round(v, 6) for name, v in measure(found, corpus.qrels[id_]).items()},
        ms=round(1000 * seconds, 3),
        cpu_ms=round(1000 * cpu, 3),
        found=found[:KEPT],
    )


def rows_of(files: Rows) -> dict[str, list[Ranking]]:
    """The rows of every system in the order of the questions."""
    return {name: [file.rows[at] for at in sorted(file.rows)] for name, file in files.items()}


def _contest(given: RetrievalGiven | ThaiGiven, corpus: Corpus, known: Sequence[str]) -> Contest:
    if given.limit is not None and given.limit < 1:
        raise UserError(f"--limit {given.limit} asks nothing: give 1 or more")
    systems = (*chosen_systems(given.systems, known), *(ABLATION if given.ablation else ()))
    check_contenders(systems)
    if given.plot is not None:
        from graphs.evaluate.retrieval_plot import check_picture

        check_picture(given.plot)
    work = given.work.expanduser() if given.work else load_settings().data_dir / "evaluation"
    return Contest(
        corpus=corpus.sample(given.limit, given.seed),
        systems=systems,
        seed=given.seed,
        work=work,
    )


def chosen_systems(names: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """The systems named with commas between, ours always among them; None is all of them."""
    chosen = list(known) if names is None else [n.strip() for n in names.split(",") if n.strip()]
    return tuple(dict.fromkeys([OURS, *chosen]))


def _embeddings(
    given: RetrievalGiven | ThaiGiven, progress: "Progress", embeddings: "Embeddings | None"
) -> "Embeddings":
    """The model of the settings with the vectors of documents kept; questions are always new."""
    from graphs.evaluate.vectors import CachedEmbeddings
    from llm_core.embeddings import LocalEmbeddings
    from llm_core.settings import load_settings as load_model_settings

    places = load_model_settings()
    model = embeddings or LocalEmbeddings(
        load_settings().embeddings, cache_dir=places.cache_dir, threads=places.threads
    )
    folder = given.cache or load_settings().data_dir / "evaluation" / "vectors"
    return CachedEmbeddings(model, folder.expanduser(), queries=False, progress=progress)


def _identity(embeddings: "Embeddings") -> str:
    from retrievers.dense import embedding_name

    return embedding_name(embeddings)


def _show(report: dict[str, Any], given: RetrievalGiven | ThaiGiven) -> None:
    if given.plot is not None:
        from graphs.evaluate.retrieval_plot import draw

        draw(report, given.plot)
    if given.as_json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        print_report(report, sys.stdout)


def _stopped() -> int:
    print("stopped; run the same command again to go on", file=sys.stderr)
    return EXIT_STOPPED
