"""Measure which scripts an embedding model reads, and fit the search for what it does not.

    python -m graphs.fit_reading --data iapp_train.jsonl.gz --data squad_train.jsonl.gz \\
        --language th --out retrievers/data/search.json

The scripts are those its vocabulary has words in. For questions in a script it does not read, the
weights of the dense ranking and of neighbouring words are chosen on judged questions, beside
paragraphs in all languages. The figures join what OUT holds of other models and stages.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from graphs.commandline import Quiet, new_app, run_app, switches
from graphs.errors import UserError
from graphs.evaluate.given import AskedFiles, Cache, Paragraphs
from graphs.evaluate.outcome import exit_code
from graphs.fit_search import Folds, Limit, Out, Seed, held_figures, write_fitted

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings
    from numpy.typing import NDArray

    from graphs.console import Progress
    from graphs.evaluate.beir import Corpus
    from graphs.evaluate.contenders import Shared
    from retrievers.readable import Reading

HELP = """Fit how a search treats questions in a script that the embedding model does not read.

The report goes to stdout, progress to stderr. Exit codes: 0 fitted, 2 something to mend."""
DENSE: Final = (1.0, 0.3, 0.1, 0.02)  # never 0: where no word is shared, it ranks
PHRASES: Final = (1.0, 2.5)
MEASURED: Final = "recall@1"

Language = Annotated[str, typer.Option("--language", help="Of the questions; one it cannot read.")]


@dataclass(frozen=True)
class Given:
    """The switches as they were given."""

    data: Paragraphs
    out: Out
    language: Language
    ask: AskedFiles = None
    limit: Limit = None
    folds: Folds = 5
    seed: Seed = 0
    cache: Cache = None
    quiet: Quiet = False


def options(scripts: Iterable[str]) -> "list[Reading]":
    """Everything that is tried; first the search that takes every question as read."""
    from retrievers.readable import Reading

    held = tuple(scripts)
    return [Reading()] + [
        Reading(scripts=held, dense=dense, phrases=phrases)
        for dense in DENSE
        for phrases in PHRASES
    ]


def measured(
    corpus: "Corpus", shared: "Shared", tried: "Sequence[Reading]", progress: "Progress"
) -> "NDArray[np.float64]":
    """The figure of every question under every option, (O, Q)."""
    import numpy as np

    from graphs.evaluate.ir_metrics import measure
    from retrievers.pipeline import HybridRetriever

    found = np.zeros((len(tried), len(corpus.queries)))
    for row, reading in enumerate(tried):
        progress("searching", row, len(tried))
        search = HybridRetriever(
            lexical=shared.lexical,
            vectors=shared.vectors,
            fetch=shared.fetch,
            embeddings=shared.embeddings,
            reading=reading,
        )
        for column, (id_, question) in enumerate(corpus.queries.items()):
            ranked = [document.id or "" for document in search.search_many([question])]
            found[row, column] = measure(ranked, corpus.qrels[id_])[MEASURED]
    progress("searching", len(tried), len(tried))
    return found


def best(scores: "NDArray[np.float64]") -> int:
    """The row of the highest mean over (O, Q); of equal ones the first, which changes least."""
    return int(scores.mean(axis=1).argmax())


def report(scores: "NDArray[np.float64]", folds: int, seed: int) -> dict[str, Any]:
    """What was chosen on other questions beside the search as it is, question by question."""
    import numpy as np

    from graphs.evaluate.ir_metrics import bootstrap_interval

    count = scores.shape[1]
    order = np.random.default_rng(seed).permutation(count)
    held = np.zeros(count)
    for fold in range(folds):
        out = order[fold::folds]
        held[out] = scores[best(np.delete(scores, out, axis=1)), out]
    gains = held - scores[0]
    return {
        "all_as_read": round(float(scores[0].mean()), 4),
        "fitted": round(float(held.mean()), 4),
        "gain": round(float(gains.mean()), 4),
        "interval": [round(end, 4) for end in bootstrap_interval(gains.tolist(), seed)],
    }


def fit(
    corpus: "Corpus",
    embeddings: "Embeddings",
    vocabulary: Iterable[str],
    *,
    folds: int,
    seed: int,
    progress: "Progress",
) -> dict[str, Any]:
    """What `retrievers.readable` reads of a model.

    Raises:
        UserError: the model reads the questions, or there are fewer of them than folds.
    """
    from graphs.evaluate.contenders import index_corpus
    from retrievers.readable import scripts_of

    tried = options(scripts_of(vocabulary))
    read = [tried[1].share(question) for question in corpus.queries.values()]
    if math.fsum(read) > len(read) / 2:
        raise UserError(
            f"the model has words for these questions in {corpus.split!r}: give --language of ones"
            " that it cannot read"
        )
    if len(corpus.queries) < folds:
        raise UserError(f"{len(corpus.queries)} questions do not fill --folds {folds}")
    shared = index_corpus(corpus.documents(), embeddings, progress)
    scores = measured(corpus, shared, tried, progress)
    chosen = tried[best(scores)]
    return {
        "choice": {
            **chosen.model_dump(),
            "scripts": None if chosen.scripts is None else sorted(chosen.scripts),
        },
        "figures": {MEASURED: report(scores, folds, seed)},
        "fitted_on": {
            "language": corpus.split,
            "documents": len(corpus.docs),
            "questions": len(corpus.queries),
            "folds": folds,
            "seed": seed,
            "date": datetime.now(UTC).date().isoformat(),
        },
    }


def vocabulary_of(folder: Path) -> list[str]:
    """The tokens of the tokenizer in a model folder, each as the text it stands for.

    Raises:
        UserError: the folder holds no tokenizer that can be read.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the package raises nothing more special
        raise UserError(f"cannot read {folder / 'tokenizer.json'}: {error}") from error
    return [tokenizer.decode([row]) for row in range(tokenizer.get_vocab_size())]


def run(
    given: Given,
    embeddings: "Embeddings | None" = None,
    vocabulary: Sequence[str] | None = None,
) -> None:
    """Fit as the switches say, add the figures to `out`, print them."""
    from graphs.evaluate.paragraphs import paragraph_corpus
    from graphs.evaluate.progress import progress_bar
    from graphs.evaluate.vectors import CachedEmbeddings
    from llm_core.embeddings import LocalEmbeddings
    from llm_core.loading import resolve
    from retrievers.dense import embedding_name

    known: Mapping[str, Any] = held_figures(given.out).get("reading", {})
    corpus = paragraph_corpus(given.data, given.ask, given.language)
    corpus = corpus.sample(given.limit, given.seed)
    model = embeddings or LocalEmbeddings()
    if vocabulary is None:
        named = model if isinstance(model, LocalEmbeddings) else LocalEmbeddings()
        vocabulary = vocabulary_of(resolve(named.model, named.cache_dir, "embeddings"))
    with progress_bar(sys.stderr, quiet=given.quiet) as progress:
        kept: Embeddings = model
        if given.cache is not None:
            kept = CachedEmbeddings(model, given.cache.expanduser(), progress=progress)
        fitted = fit(
            corpus, kept, vocabulary, folds=given.folds, seed=given.seed, progress=progress
        )
    write_fitted(given.out, {"reading": {**known, embedding_name(model): fitted}})
    print(json.dumps(fitted, indent=1, sort_keys=True))


def main(
    argv: Sequence[str] | None = None,
    *,
    embeddings: "Embeddings | None" = None,
    vocabulary: Sequence[str] | None = None,
) -> int:
    """Run the command; returns the exit code. `embeddings` and their `vocabulary` are for tests."""

    def fit_reading(given: Given) -> int:
        return exit_code(lambda: run(given, embeddings, vocabulary))

    app = new_app()
    app.command(help=HELP)(switches(Given, fit_reading))
    return run_app(app, "graphs.fit_reading", argv)


if __name__ == "__main__":
    sys.exit(main())
