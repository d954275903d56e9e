"""Rows of one system pooled into its figures; None where nothing of that kind was asked."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from graphs.evaluate.scoring import Row
from graphs.qa_metrics import area_under_roc

RESAMPLES: Final = 2000
THRESHOLDS: Final = tuple(step / 20 for step in range(21))
Part = tuple[float, float]  # what a question adds to a share, and to its whole


def summarise(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """The figures of one system; `seed` fixes the resamples of the intervals."""
    asked = [row for row in rows if row.answerable]
    foreign = [row for row in rows if not row.answerable]
    seconds = sorted(row.seconds for row in rows)
    hit, short = _parts(asked, "hit"), _parts(asked, "f1")
    own = _parts(asked, "own_citations", "citations")
    return {
        "questions": len(rows),
        "answerable": len(asked),
        "unanswerable": len(foreign),
        "passage_recall": share(_parts(asked, "passage_retrieved")),
        "own_paragraph_recall": share(_parts(asked, "own_retrieved")),
        "answer_hit": share(hit),
        "em": share(_parts(asked, "em")),
        "f1": share(short),
        "citation_precision": share(own),
        "citation_holds_answer": share(_parts(asked, "holding_citations", "citations")),
        "cited_holds_answer": share(_parts(asked, "cited_holds")),
        "sentences_with_citation": share(_parts(rows, "cited_sentences", "sentences")),
        "composed_share": share(_parts(rows, "composed", "sentences")),
        "answer_words": _median([row.words for row in rows]),
        "abstention_unanswerable": share(_parts(foreign, "abstained")),
        "abstention_answerable": share(_parts(asked, "abstained")),
        "citations": _over(rows, "citations", sum),
        "dangling_citations": _over(rows, "dangling", sum),
        "duplicate_citations": _over(rows, "duplicates", sum),
        "max_ids_a_sentence": _over(rows, "max_ids", max),
        "stopped": sum(row.stopped is not None for row in rows),
        "seconds_median": _median(seconds),
        "seconds_p90": _percentile(seconds, 0.9),
        "cpu_seconds_median": _median([row.cpu_seconds for row in rows]),
        "peak_memory_mb": _over(rows, "peak_mb", max),
        "intervals": {
            "answer_hit": bootstrap(hit, seed),
            "f1": bootstrap(short, seed),
            "citation_precision": bootstrap(own, seed),
        },
        "risk_coverage": risk_coverage(rows),
    }


def share(parts: Sequence[Part]) -> float | None:
    """The sum of the parts over the sum of their wholes; None where there is nothing."""
    whole = sum(whole for _, whole in parts)
    return _rounded(sum(part for part, _ in parts) / whole) if whole else None


def bootstrap(parts: Sequence[Part], seed: int) -> list[float] | None:
    """The 95 % interval [low, high] of `share` over resampled questions, one a part."""
    import numpy as np

    if share(parts) is None:
        return None
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(parts), size=(RESAMPLES, len(parts)))
    part, whole = np.asarray(parts, dtype=np.float64)[draws].sum(axis=1).T  # (RESAMPLES,) each
    values = part[whole > 0] / whole[whole > 0]
    return [round(float(value), 4) for value in np.percentile(values, [2.5, 97.5])]


def _parts(rows: Iterable[Row], part: str, whole: str | None = None) -> list[Part]:
    """What each row adds to a share of two of its fields (`whole` None: of the questions)."""
    found = []
    for row in rows:
        value = getattr(row, part)
        total = 1 if whole is None else getattr(row, whole)
        if value is not None and total is not None:
            found.append((float(value), float(total)))
    return found


def risk_coverage(rows: Sequence[Row]) -> dict[str, Any] | None:
    """What each threshold on the system's own probability would answer and refuse.

    None where the system gives no probability; `auroc` None where one kind was not asked.
    """
    rated = [(row.answerable, row.probability) for row in rows if row.probability is not None]
    asked = [probability for answerable, probability in rated if answerable]
    foreign = [probability for answerable, probability in rated if not answerable]
    if not rated:
        return None
    return {
        "questions": len(rated),
        "auroc": _rounded(area_under_roc(asked, foreign)),
        "curve": [
            {
                "threshold": threshold,
                "answered_answerable": _mean(p >= threshold for p in asked),
                "refused_unanswerable": _mean(p < threshold for p in foreign),
            }
            for threshold in THRESHOLDS
        ],
    }


def _mean(values: Iterable[float]) -> float | None:
    return share([(float(value), 1.0) for value in values])


def _over(rows: Iterable[Row], name: str, pool: Callable[[list[float]], float]) -> float | None:
    known = [value for row in rows if (value := getattr(row, name)) is not None]
    return pool(known) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(statistics.median(known)) if known else None


def _percentile(ordered: Sequence[float], part: float) -> float | None:
    """Linear interpolation between the two nearest of sorted values."""
    if not ordered:
        return None
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return _rounded(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
