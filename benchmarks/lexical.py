"""Lexical search on questions with known passages: our terms and BM25 beside plain ones.

    python -m benchmarks.lexical quality --beir scifact:train --beir cosqa:dev \
        --paragraphs thai.jsonl.gz --paragraphs squad.jsonl.gz --json lexical.json
    python -m benchmarks.lexical tune --beir scifact:train --paragraphs squad.jsonl.gz --code
    python -m benchmarks.lexical speed --beir scifact:train --sizes 100000 1000000

`quality` compares words between white space and the package bm25s as it comes (its own English
stop words, Robertson's k1 1.5) with ours, one step at a time. `tune` is how k1, b and the weight of
phrases were chosen: the best mean nDCG@10 over the sets of which none loses by the phrases.
`speed` fills an index with passages cut at random from the documents and asks their questions.
Each question is asked of every contender in turn. `--code` adds the functions of Python's standard
library, to be found by the first sentence of their docstrings.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.lexical_sets import Judged, beir_set, code_set, paragraph_sets
from graphs.errors import UserError
from graphs.evaluate.ir_metrics import bootstrap_interval, ndcg, recall
from graphs.evaluate.ir_metrics import measure as measure_ranking
from llm_core.bench.report import table
from retrievers.analysis import tokenize
from retrievers.bm25 import PHRASE, BM25Index
from retrievers.errors import RetrievalError
from retrievers.ranking import search_terms, searchable_text, top_rows

Ranker = Callable[[str], list[str]]
DEPTH: Final = 100
MEASURES: Final = ("ndcg@10", "recall@1", "recall@5", "mrr@10", "recall@100")
GRID: Final = {"k1": (0.9, 1.2, 1.5), "b": (0.6, 0.75, 0.9), "phrase": (0.0, 0.1, 0.2, 0.3, 0.5)}
_SPACE = re.compile(r"\s+")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = _arguments(argv)
    try:
        report = given.run(given)
    except (UserError, RetrievalError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def quality(given: argparse.Namespace) -> dict[str, Any]:
    """Every measure of every contender on every set, with intervals against bm25s."""
    report: dict[str, Any] = {}
    for judged in _sets(given):
        _say(f"{judged.name}: {len(judged.queries)} questions, {len(judged.documents)} passages")
        rankers = contenders(judged)
        rows = {name: {m: list[float]() for m in MEASURES} for name in rankers}
        for id_, question in judged.queries.items():
            for name, rank in rankers.items():
                ranked, grades = rank(question), judged.qrels[id_]
                found = {**measure_ranking(ranked, grades), "recall@1": recall(ranked, grades, 1)}
                for measure in MEASURES:
                    rows[name][measure].append(found[measure])
        report[judged.name] = _summary(rows, given.seed)
        print(f"\n{judged.name}: {len(judged.queries)} questions\n")
        print("\n".join(_quality_table(report[judged.name])), flush=True)
    return report


def contenders(judged: Judged) -> dict[str, Ranker]:
    """A ranking function for each way to search the documents of a set."""
    documents = judged.documents
    ids = [document.id or "" for document in documents]
    texts = [searchable_text(document) for document in documents]
    spaced = BM25Index.build(ids, (_SPACE.split(text.lower()) for text in texts))
    plain = BM25Index.build(ids, (tokenize(text) for text in texts))
    titled = BM25Index.build(ids, (search_terms(document, tokenize) for document in documents))

    def over(index: BM25Index, terms: Callable[[str], list[str]], phrase: float) -> Ranker:
        return lambda question: [id_ for id_, _ in index.top(terms(question), DEPTH, phrase=phrase)]

    return {
        "words between white space": over(spaced, lambda text: _SPACE.split(text.lower()), 0),
        "bm25s as it comes": _bm25s(ids, texts),
        "our terms": over(plain, tokenize, 0),
        "+ titles twice": over(titled, tokenize, 0),
        "+ phrases: ours": over(titled, tokenize, PHRASE),
    }


def tune(given: argparse.Namespace) -> dict[str, Any]:
    """Mean nDCG@10 of every set at every point of the grid, and the best point."""
    points = [(k1, b, p) for k1 in GRID["k1"] for b in GRID["b"] for p in GRID["phrase"]]
    values: dict[str, list[float]] = {}
    for judged in _sets(given):
        _say(f"{judged.name}: {len(judged.queries)} questions, {len(judged.documents)} passages")
        values[judged.name] = [round(value, 4) for value in _grid(judged)]
    best = _best(points, values)
    head = ["k1", "b", "phrase", *values, "mean"]
    rows = [
        [
            *map(str, point),
            *(f"{values[name][at]:.4f}" for name in values),
            f"{_mean(values, at):.4f}",
        ]
        for at, point in enumerate(points)
    ]
    print("\n".join(table(head, rows)))
    print(f"\nbest: k1 {best[0]}, b {best[1]}, phrase {best[2]}")
    return {"points": points, "ndcg@10": values, "best": best}


def _grid(judged: Judged) -> Iterator[float]:
    ids = [document.id or "" for document in judged.documents]
    rows = [search_terms(document, tokenize) for document in judged.documents]
    asked = {id_: tokenize(question) for id_, question in judged.queries.items()}
    for k1 in GRID["k1"]:
        for b in GRID["b"]:
            index = BM25Index.build(ids, rows, k1=k1, b=b)
            for phrase in GRID["phrase"]:
                found = {
                    id_: [hit for hit, _ in index.top(terms, 10, phrase=phrase)]
                    for id_, terms in asked.items()
                }
                scores = [ndcg(ranked, judged.qrels[id_], 10) for id_, ranked in found.items()]
                yield float(np.mean(scores))


def _best(
    points: Sequence[tuple[float, float, float]], values: dict[str, list[float]]
) -> tuple[float, float, float]:
    """The point of the highest mean at which no set is worse than without phrases."""
    plain = {point[:2]: at for at, point in enumerate(points) if not point[2]}
    safe = [
        at
        for at, point in enumerate(points)
        if all(found[at] >= found[plain[point[:2]]] for found in values.values())
    ]
    return points[max(safe, key=lambda at: _mean(values, at))]


def _mean(values: dict[str, list[float]], at: int) -> float:
    return float(np.mean([found[at] for found in values.values()]))


def _bm25s(ids: Sequence[str], texts: Sequence[str]) -> Ranker:
    try:
        import bm25s
    except ImportError as error:
        raise UserError("bm25s is not installed: pip install bm25s") from error

    scorer = bm25s.BM25()
    scorer.index(bm25s.tokenize(list(texts), show_progress=False), show_progress=False)

    def rank(question: str) -> list[str]:
        words = bm25s.tokenize(question, return_ids=False, show_progress=False)[0]
        scores = scorer.get_scores(words) if words else np.zeros(len(ids), np.float32)
        return [ids[row] for row in top_rows(scores, DEPTH) if scores[row] > 0]

    return rank


def _summary(rows: dict[str, dict[str, list[float]]], seed: int) -> dict[str, Any]:
    base = rows["bm25s as it comes"]["ndcg@10"]
    report: dict[str, Any] = {}
    for name, found in rows.items():
        gain = np.subtract(found["ndcg@10"], base).tolist()
        report[name] = {m: round(float(np.mean(values)), 4) for m, values in found.items()}
        report[name]["gain"] = round(float(np.mean(gain)), 4)
        report[name]["gain_interval"] = [round(v, 4) for v in bootstrap_interval(gain, seed)]
    return report


def _quality_table(report: dict[str, Any]) -> Iterator[str]:
    head = ["", *MEASURES, "nDCG@10 over bm25s"]
    rows = [
        [
            name,
            *(f"{found[measure]:.4f}" for measure in MEASURES),
            "{:+.4f} [{:+.4f}, {:+.4f}]".format(found["gain"], *found["gain_interval"]),
        ]
        for name, found in report.items()
    ]
    yield from table(head, rows)


def _sets(given: argparse.Namespace) -> Iterator[Judged]:
    chosen = [beir_set(name) for name in given.beir]
    chosen += paragraph_sets(given.paragraphs)
    chosen += [code_set()] if given.code else []
    if not chosen:
        raise UserError("nothing to ask: give --beir FOLDER:SPLIT, --paragraphs FILE or --code")
    for judged in chosen:
        sampled = judged.sample(given.limit, given.seed)
        if sampled.queries:
            yield sampled


def _speed(given: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.lexical_speed import speed

    return speed(list(_sets(given)), given.sizes, given.rival_up_to, given.seed, _say)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(required=True)
    for name, run in (("quality", quality), ("tune", tune), ("speed", _speed)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--beir", action="append", default=[], metavar="FOLDER:SPLIT")
        command.add_argument("--paragraphs", action="append", default=[], type=Path, metavar="FILE")
        command.add_argument("--code", action="store_true")
        command.add_argument("--limit", type=int, help="questions of a set, drawn at random")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--json", type=Path)
        if name == "speed":
            command.add_argument("--sizes", type=int, nargs="+", default=[100_000])
            command.add_argument("--rival-up-to", type=int, default=1_000_000, help="passages")
    return parser.parse_args(argv)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
