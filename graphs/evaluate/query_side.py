"""The `multihop` and `queries` commands: what each way of planning a search finds.

Every question is put to all plans in turn over one index. `all@k`: every passage the answer needs
stands in the first k, which is what a question of several hops wants. The vectors of queries are
kept, so `ms` is the time without embedding them; `embedded` counts those that a question needs.
"""

import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from graphs.errors import UserError
from graphs.evaluate.beir import Corpus
from graphs.evaluate.ir_metrics import bootstrap_interval, ndcg, recall, reciprocal_rank
from graphs.evaluate.multihop import load_questions
from graphs.evaluate.outcome import exit_code
from graphs.evaluate.progress import progress_bar
from graphs.evaluate.query_given import QUESTION, QueriesGiven
from graphs.evaluate.query_plans import Parts, build_planner
from graphs.evaluate.typos import misspelt
from graphs.settings import load_settings

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

    from graphs.console import Progress
    from retrievers.pipeline import HybridRetriever

K: Final = 10
FIGURES: Final = (f"all@{K}", "all@5", f"recall@{K}", f"ndcg@{K}", f"mrr@{K}")


@dataclass(frozen=True)
class Answered:
    """What one plan gave for one question."""

    figures: dict[str, float]
    queries: int
    embedded: int
    ms: float


def run_queries(
    given: QueriesGiven,
    embeddings: "Embeddings | None" = None,
    model: "BaseChatModel | None" = None,
) -> int:
    """Measure and report; an expected error becomes one line on stderr and exit code 2."""
    return exit_code(lambda: _report(given, embeddings, model))


def _report(
    given: QueriesGiven, embeddings: "Embeddings | None", model: "BaseChatModel | None"
) -> None:
    if given.limit is not None and given.limit < 1:
        raise UserError(f"--limit {given.limit} asks nothing: give 1 or more")
    names = [QUESTION, *(n.strip() for n in given.plans.split(",") if n.strip())]
    corpus = load_questions([path.expanduser() for path in given.data], given.split)
    corpus = misspelt(corpus.sample(given.limit, given.seed), given.typos, given.seed)
    with progress_bar(sys.stderr, quiet=given.quiet) as progress:
        kept = _embeddings(given, embeddings, progress)
        rows = ask(corpus, list(dict.fromkeys(names)), kept, model, progress)
    report = make_report(rows, corpus, given)
    if given.as_json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        print_table(report)


def ask(
    corpus: Corpus,
    names: Sequence[str],
    embeddings: "Embeddings",
    model: "BaseChatModel | None",
    progress: "Progress",
) -> dict[str, list[Answered]]:
    """Put every question to every plan; rows in the order of the questions."""
    from retrievers.pipeline import HybridRetriever

    documents = corpus.documents()
    progress("indexing", 0, len(documents))
    first = HybridRetriever.from_documents(documents, embeddings, k=K)
    progress("indexing", len(documents), len(documents))
    parts = Parts(first, first.lexical, documents, lambda: model or _chat_model())
    searches = {
        name: first.model_copy(update={"planner": build_planner(name, parts)}) for name in names
    }
    rows: dict[str, list[Answered]] = {name: [] for name in names}
    for at, (id_, question) in enumerate(corpus.queries.items()):
        progress("asking", at, len(corpus.queries))
        for name in [*names[at % len(names) :], *names[: at % len(names)]]:
            rows[name].append(_answered(searches[name], question, corpus.qrels[id_]))
    progress("asking", len(corpus.queries), len(corpus.queries))
    return rows


def _answered(search: "HybridRetriever", question: str, grades: Mapping[str, int]) -> Answered:
    from retrievers.query.normalise import normalise

    search.embeddings.embed_query(normalise(question))  # kept, for every plan alike
    begun = time.perf_counter()
    found, trace = search.traced(question, K)
    seconds = time.perf_counter() - begun
    ids = [document.id or "" for document in found]
    figures = {
        f"all@{K}": float(recall(ids, grades, K) == 1.0),
        "all@5": float(recall(ids, grades, 5) == 1.0),
        f"recall@{K}": recall(ids, grades, K),
        f"ndcg@{K}": ndcg(ids, grades, K),
        f"mrr@{K}": reciprocal_rank(ids, grades, K),
    }
    queries = trace.plan["queries"]
    embedded = sum(query["dense"] for query in queries)
    return Answered(figures, len(queries), embedded, 1000 * seconds)


def make_report(
    rows: Mapping[str, Sequence[Answered]], corpus: Corpus, given: QueriesGiven
) -> dict[str, Any]:
    """One object with a key a plan, each with its gap to the question alone, and `settings`."""
    base = rows[QUESTION]
    plans: dict[str, Any] = {}
    for name, answered in rows.items():
        plans[name] = {
            **{f: round(statistics.fmean(a.figures[f] for a in answered), 4) for f in FIGURES},
            "queries": round(statistics.fmean(a.queries for a in answered), 1),
            "embedded": round(statistics.fmean(a.embedded for a in answered), 1),
            "ms": round(statistics.median(a.ms for a in answered), 1),
            "gain": {
                f: _gap([a.figures[f] - b.figures[f] for a, b in zip(answered, base, strict=True)],
                        given.seed)
                for f in FIGURES
            },
        }  # fmt: skip
    return {
        **plans,
        "settings": {
            "data": corpus.name,
            "split": corpus.split,
            "data_sha256": corpus.digest(),
            "documents": len(corpus.docs),
            "questions": len(corpus.queries),
            "typos": given.typos,
            "seed": given.seed,
        },
    }


def _gap(gaps: Sequence[float], seed: int) -> dict[str, Any]:
    low, high = bootstrap_interval(gaps, seed)
    return {
        "mean": round(statistics.fmean(gaps), 4),
        "interval": [round(low, 4), round(high, 4)],
        "better": sum(gap > 0 for gap in gaps),
        "worse": sum(gap < 0 for gap in gaps),
    }


def print_table(report: Mapping[str, Any]) -> None:
    """Print the figures of all plans as a Markdown table."""
    settings = report["settings"]
    print(
        f"{settings['questions']} questions ({settings['split']}) over {settings['documents']}"
        f" passages of {settings['data']}, {settings['typos']} misspelt words, seed"
        f" {settings['seed']}; the gain on the question alone with its 95 % interval"
    )
    print(
        "\n| plan | "
        + " | ".join(FIGURES)
        + " | queries | embedded | ms | gain in all@10 | in ndcg@10 |"
    )
    print("|---|" + "---:|" * (len(FIGURES) + 5))
    for name, row in report.items():
        if name == "settings":
            continue
        cells = [*(f"{row[figure]:.3f}" for figure in FIGURES), row["queries"]]
        cells += [row["embedded"], row["ms"]]
        cells += [_gain(row["gain"][figure]) for figure in (FIGURES[0], f"ndcg@{K}")]
        print(f"| {name} | " + " | ".join(map(str, cells)) + " |")


def _gain(gap: Mapping[str, Any]) -> str:
    low, high = gap["interval"]
    return f"{gap['mean']:+.3f} ({low:+.3f} to {high:+.3f})"


def _embeddings(
    given: QueriesGiven, embeddings: "Embeddings | None", progress: "Progress"
) -> "Embeddings":
    from graphs.evaluate.vectors import CachedEmbeddings
    from llm_core.embeddings import LocalEmbeddings

    places = load_settings()
    folder = given.cache or places.data_dir / "evaluation" / "vectors"
    model = embeddings or LocalEmbeddings(places.embeddings)
    return CachedEmbeddings(model, folder.expanduser(), progress=progress)


def _chat_model() -> "BaseChatModel":
    from llm_core.chat_model import LocalChatModel

    return LocalChatModel()
