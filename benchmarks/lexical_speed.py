"""How long a lexical search takes among many passages, ours beside bm25s on the same tokens."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.lexical_sets import Judged
from llm_core.bench.report import table
from retrievers.analysis import tokenize
from retrievers.bm25 import PHRASE, BM25Index
from retrievers.ranking import search_terms, top_rows

K: Final = 50
LENGTH: Final = 60  # terms of a passage
_QUESTIONS: Final = 200
_MIB: Final = 2**20
Search = Callable[[list[str]], object]


def speed(
    sets: Sequence[Judged],
    sizes: Sequence[int],
    rival_up_to: int,
    seed: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Median and p99 of a search in each size, of every contender in turn."""
    say("analysing the documents")
    rows = [search_terms(document, tokenize) for one in sets for document in one.documents]
    rows = [row for row in rows if len(row) > LENGTH]
    asked = [tokenize(question) for one in sets for question in one.queries.values()]
    asked = asked[:: max(1, len(asked) // _QUESTIONS)][:_QUESTIONS]
    report: dict[str, Any] = {}
    for size in sizes:
        say(f"{size:,} passages: building")
        report[str(size)] = _measure(rows, asked, size, size <= rival_up_to, seed)
        print(f"\n{size:,} passages of {LENGTH} terms, the best {K}\n")
        print("\n".join(_speed_table(report[str(size)])), flush=True)
    return report


def _measure(
    rows: Sequence[list[str]], asked: Sequence[list[str]], size: int, rival: bool, seed: int
) -> dict[str, Any]:
    ids = [str(number) for number in range(size)]
    started = time.process_time()
    index = BM25Index.build(ids, _cut(rows, size, seed))
    built = {"ours": time.process_time() - started}
    searches: dict[str, Search] = {
        "ours": lambda terms: index.best(terms, K, phrase=PHRASE)[0],
        "ours, no phrases": lambda terms: index.best(terms, K, phrase=0)[0],
        "ours, every row scored": lambda terms: top_rows(index.scores(terms), K),
    }
    if rival:
        started = time.process_time()
        searches["bm25s"] = _bm25s(rows, size, seed)
        built["bm25s"] = time.process_time() - started
    times: dict[str, list[float]] = {name: [] for name in searches}
    for terms in [asked[0], *asked]:  # the first question pays for what is made once
        for name, search in searches.items():
            started = time.thread_time()
            search(terms)
            times[name].append(1e3 * (time.thread_time() - started))
    return {
        name: {
            "p50_ms": round(float(np.median(values[1:])), 2),
            "p99_ms": round(float(np.quantile(values[1:], 0.99)), 2),
            "built_s": round(built[name], 1) if name in built else None,
        }
        for name, values in times.items()
    }


def _cut(rows: Sequence[list[str]], size: int, seed: int) -> Iterator[list[str]]:
    """`size` passages of LENGTH terms cut out of documents at random; always the same ones."""
    rng = np.random.default_rng(seed)
    for number in range(size):
        row = rows[number % len(rows)]
        start = int(rng.random() * (len(row) - LENGTH))
        yield row[start : start + LENGTH]


def _bm25s(rows: Sequence[list[str]], size: int, seed: int) -> Search:
    import bm25s

    vocabulary: dict[str, int] = {}
    number = vocabulary.setdefault
    columns = [[number(term, len(vocabulary)) for term in row] for row in _cut(rows, size, seed)]
    scorer = bm25s.BM25(method="lucene", backend="numpy")
    scorer.index((columns, vocabulary), create_empty_token=False, show_progress=False)

    def search(terms: list[str]) -> object:
        known = [vocabulary[term] for term in terms if term in vocabulary]
        return top_rows(scorer.get_scores_from_ids(known), K)

    return search


def _speed_table(report: dict[str, Any]) -> Iterator[str]:
    rows = [
        [name, *("" if found[key] is None else str(found[key]) for key in found)]
        for name, found in report.items()
    ]
    yield from table(["", "CPU ms, median", "CPU ms, p99", "built, CPU s"], rows)
