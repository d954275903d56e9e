"""Fit how strongly the stages of a search count, on questions with relevance judgements.

    python -m graphs.fit_search FOLDER --split train --out search.json

FOLDER is a corpus in BEIR layout. The report compares, question by question, what was chosen on
other questions (cross-validation) with either ranking alone and their plain rank fusion.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from graphs.commandline import Quiet, new_app, run_app, switches
from graphs.errors import UserError
from graphs.evaluate.outcome import exit_code

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    from graphs.console import Progress
    from graphs.evaluate.beir import Corpus
    from graphs.search_fitting import Case, Choice, Floats, Judge, Trials
    from retrievers.bm25 import BM25Index

HELP = """Fit the shares of the search stages and the chances of relevance; write them to OUT.

The report goes to stdout, progress to stderr. Exit codes: 0 fitted, 2 something to mend."""
JUDGED: Final = 20  # results of a question that chances of relevance are fitted on

Data = Annotated[Path, typer.Argument(help="Folder in BEIR layout.")]
Out = Annotated[Path, typer.Option("--out", help="JSON file for the figures.")]
Split = Annotated[str, typer.Option("--split", help="Which judgements.")]
Limit = Annotated[int | None, typer.Option("--limit", min=10, help="How many questions.")]
Late = Annotated[
    bool, typer.Option("--late/--no-late", help="Fit late interaction too; it takes longest.")
]
Folds = Annotated[int, typer.Option("--folds", min=2, help="Folds of the cross-validation.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of sample, folds and intervals.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder that keeps vectors.")]


@dataclass(frozen=True)
class Given:
    """The switches as they were given."""

    data: Data
    out: Out
    split: Split = "train"
    limit: Limit = None
    late: Late = True
    folds: Folds = 5
    seed: Seed = 0
    cache: Cache = None
    quiet: Quiet = False


@dataclass(frozen=True)
class Indexed:
    """A corpus ready to be searched both ways."""

    documents: "dict[str, Document]"
    lexical: "BM25Index"
    cases: "list[Case]"
    coverage: list[dict[str, float]]  # of every candidate of a case, by id


def prepare(corpus: "Corpus", embeddings: "Embeddings", progress: "Progress") -> Indexed:
    """What both rankings find for each question, with both scores of every candidate."""
    from graphs.search_fitting import CANDIDATES, Case
    from retrievers.dense import unit_rows
    from retrievers.pipeline import index_documents
    from retrievers.ranking import default_tokenizer

    documents = corpus.documents()
    lexical, vectors = index_documents(documents, embeddings)
    tokenize = default_tokenizer()
    cases: list[Case] = []
    coverage: list[dict[str, float]] = []
    for count, (id_, question) in enumerate(corpus.queries.items(), 1):
        terms = tokenize(question)
        point = unit_rows(embeddings.embed_query(question))[0]  # (D,)
        words = dict(lexical.top(terms, CANDIDATES))
        near = dict(vectors.search(point, CANDIDATES))
        late = [found for found in words if found not in near]
        rows = vectors.vectors([*near, *late])  # (N, D)
        near |= dict(zip(late, (rows[len(near) :] @ point).tolist(), strict=True))
        unread = [found for found in near if found not in words]
        words |= dict(zip(unread, lexical.scores_of(terms, unread).tolist(), strict=True))
        held = dict(zip(near, rows, strict=True))
        ceiling = lexical.ceiling(terms) or 1.0
        coverage.append({found: score / ceiling for found, score in words.items()})
        best_words = sorted(words.items(), key=lambda hit: -hit[1])
        best_near = sorted(near.items(), key=lambda hit: -hit[1])
        cases.append(Case(question, best_words, best_near, held, corpus.qrels[id_]))
        progress("searching", count, len(corpus.queries))
    return Indexed({d.id or "": d for d in documents}, lexical, cases, coverage)


def late_judge(indexed: Indexed, embeddings: "Embeddings", progress: "Progress") -> "Judge":
    """Late interaction of documents with the question of a case."""
    from retrievers.rerank.late_interaction import LateInteractionReranker

    held = indexed.documents
    idf = indexed.lexical.idf
    reranker = LateInteractionReranker(embeddings=embeddings, idf=idf, keep=4096)
    judged: set[str] = set()

    def judge(case: "Case", ids: Sequence[str]) -> list[float]:
        found = reranker.compress_documents([held[id_] for id_ in ids], case.question)
        scores = {document.id: float(document.metadata["rerank"]) for document in found}
        judged.update(ids)
        progress("late interaction", len(judged), len(held))
        return [scores[id_] for id_ in ids]

    return judge


def fit_relevance(
    trials: "Trials", indexed: Indexed, choice: "Choice", seed: int
) -> dict[str, Any]:
    """Weights of the chance of relevance, and how well they held on the half not fitted on."""
    import numpy as np

    from graphs.search_fitting import calibration_error, fit_logistic
    from retrievers.cutoff import SIGNS, chances, expected_share, signs_of

    rows, wanted = [], []
    for at, case in enumerate(trials.cases):
        ids = [id_ for id_, _ in trials.ranking(at, choice)[:JUDGED]]
        cosine = dict(case.dense)
        rows.append(
            signs_of([_scored(id_, cosine[id_], indexed.coverage[at].get(id_, 0.0)) for id_ in ids])
        )
        wanted.append(np.asarray([float(case.grades.get(id_, 0) > 0) for id_ in ids]))
    order = np.random.default_rng(seed).permutation(len(rows))
    given = [np.zeros(0) for _ in rows]
    for half in (0, 1):
        fitted_on = [int(at) for at in order[1 - half :: 2]]
        weights, bias = fit_logistic(
            np.concatenate([rows[at] for at in fitted_on]),
            np.concatenate([wanted[at] for at in fitted_on]),
        )
        for at in order[half::2]:
            given[at] = chances(rows[at], dict(zip(SIGNS, weights, strict=True)), bias)
    kept = [expected_share(row, 0.95) for row in given]
    held = [hits[:size].sum() for hits, size in zip(wanted, kept, strict=True)]
    weights, bias = fit_logistic(np.concatenate(rows), np.concatenate(wanted))
    return {
        "weights": {n: round(float(w), 5) for n, w in zip(SIGNS, weights, strict=True)},
        "bias": round(bias, 5),
        "calibration_error": round(
            calibration_error(np.concatenate(given), np.concatenate(wanted)), 4
        ),
        "kept": round(float(np.mean(kept)), 2),
        "relevant_kept": round(float(sum(held) / max(sum(w.sum() for w in wanted), 1)), 4),
        "of": JUDGED,
    }


def _scored(id_: str, dense: float, coverage: float) -> "Document":
    from langchain_core.documents import Document

    return Document(id=id_, page_content="", metadata={"dense": dense, "coverage": coverage})


def report(held: "dict[str, Floats]", plain: "dict[str, Floats]", seed: int) -> dict[str, Any]:
    """Mean nDCG@10 of everything, and of each stage its difference to plain rank fusion."""
    from graphs.evaluate.ir_metrics import bootstrap_interval

    def rounded(values: "np.ndarray[Any, Any]") -> list[float]:
        return [round(end, 4) for end in bootstrap_interval(values.tolist(), seed)]

    base = plain["rank_fusion"]
    return {
        name: {
            "ndcg@10": round(float(values.mean()), 4),
            "over_rank_fusion": round(float((values - base).mean()), 4),
            "interval": rounded(values - base),
        }
        for name, values in {**plain, **held}.items()
    }


def fit(
    corpus: "Corpus",
    embeddings: "Embeddings",
    *,
    tokens: "Embeddings | None",
    folds: int,
    seed: int,
    progress: "Progress",
) -> dict[str, Any]:
    """Everything that `retrievers.fitted` reads; `tokens` gives the vectors of late interaction.

    Raises:
        UserError: there are fewer questions than folds.
    """
    from graphs.search_fitting import Trials, as_json, baselines, cross_validated

    if len(corpus.queries) < folds:
        raise UserError(f"{len(corpus.queries)} questions do not fill --folds {folds}")
    indexed = prepare(corpus, embeddings, progress)
    late = tokens is not None
    judge = late_judge(indexed, tokens, progress) if tokens is not None else None
    trials = Trials(indexed.cases, judge)
    held, chosen = cross_validated(trials, folds, seed, late=late)
    return {
        "choice": as_json(list(chosen.values())[-1]),
        "relevance": fit_relevance(trials, indexed, list(chosen.values())[-1], seed),
        "figures": report(held, baselines(trials), seed),
        "fitted_on": {
            "corpus": corpus.name,
            "split": corpus.split,
            "questions": len(corpus.queries),
            "folds": folds,
            "seed": seed,
            "date": datetime.now(UTC).date().isoformat(),
        },
    }


def run(given: Given, embeddings: "Embeddings | None" = None) -> None:
    """Fit as the switches say, write the figures, print them.

    Raises:
        UserError: the folder or `out` cannot be used.
    """
    from graphs.evaluate.beir import load_beir
    from graphs.evaluate.progress import progress_bar
    from graphs.evaluate.vectors import CachedEmbeddings
    from llm_core.embeddings import LocalEmbeddings

    held_figures(given.out)
    corpus = load_beir(given.data.expanduser(), given.split).sample(given.limit, given.seed)
    model: Embeddings = embeddings or LocalEmbeddings()
    with progress_bar(sys.stderr, quiet=given.quiet) as progress:
        kept = model
        if given.cache is not None:
            kept = CachedEmbeddings(model, given.cache.expanduser())
        tokens = model if given.late else None
        fitted = fit(
            corpus, kept, tokens=tokens, folds=given.folds, seed=given.seed, progress=progress
        )
    write_fitted(given.out, fitted)
    print(json.dumps(fitted, indent=1, sort_keys=True))


def held_figures(out: Path) -> dict[str, Any]:
    """What the file of figures holds; nothing where there is none yet.

    Raises:
        UserError: it is no place for a file, or no file of figures.
    """
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UserError(f"--out {out} is no file in a folder that exists")
    try:
        held = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {out} ({error}): give another --out") from error
    if not isinstance(held, dict):
        raise UserError(f"{out} holds no figures: give another --out")
    return held


def write_fitted(out: Path, figures: Mapping[str, Any]) -> None:
    """Put `figures` beside what the file holds under other names.

    Raises:
        UserError: the file cannot be read or written.
    """
    text = json.dumps({**held_figures(out), **figures}, indent=1, sort_keys=True)
    try:
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out} ({error.strerror}): give another --out") from error


def main(argv: Sequence[str] | None = None, *, embeddings: "Embeddings | None" = None) -> int:
    """Run the command; returns the exit code. `embeddings` are used instead of the default ones."""

    def fit_search(given: Given) -> int:
        return exit_code(lambda: run(given, embeddings))

    app = new_app()
    app.command(help=HELP)(switches(Given, fit_search))
    return run_app(app, "graphs.fit_search", argv)


if __name__ == "__main__":
    sys.exit(main())
