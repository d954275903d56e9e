"""How good a ranking is against graded judgements, and how sure a mean over questions is.

nDCG takes the grade itself as gain and log2(rank + 1) as discount, as trec_eval and BEIR do
(Järvelin, Kekäläinen, 2002); a document nobody judged counts as irrelevant, and one that a
ranking repeats counts once, where it first stands.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 10_000
_RESAMPLED_AT_ONCE: Final = 500
METRICS: Final = ("ndcg@10", "recall@1", "recall@5", "recall@100", "mrr@10")


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Discounted gain of the first `k` over the highest possible one, 0 to 1."""
    best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k]
    ideal = _discounted(best)
    found = _discounted([max(0, grades.get(id_, 0)) for id_ in _first(ranked, k)])
    return found / ideal if ideal else 0.0


def recall(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """The share of the relevant documents that stand in the first `k`."""
    relevant = {id_ for id_, grade in grades.items() if grade > 0}
    return len(relevant & set(_first(ranked, k))) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """1 over the rank of the first relevant document in the first `k`, else 0."""
    for rank, id_ in enumerate(_first(ranked, k), 1):
        if grades.get(id_, 0) > 0:
            return 1 / rank
    return 0.0


def measure(ranked: Sequence[str], grades: Mapping[str, int]) -> dict[str, float]:
    """The `METRICS` of one ranking."""
    return {
        "ndcg@10": ndcg(ranked, grades, 10),
        "recall@1": recall(ranked, grades, 1),
        "recall@5": recall(ranked, grades, 5),
        "recall@100": recall(ranked, grades, 100),
        "mrr@10": reciprocal_rank(ranked, grades, 10),
    }


def bootstrap_interval(
    values: Sequence[float], seed: int, level: float = 0.95
) -> tuple[float, float]:
    """The interval of the mean over resampled questions (percentiles; Efron, 1979).

    For the difference of two systems give the differences question by question.
    """
    given = np.asarray(values, dtype=np.float64)  # (N,)
    if not len(given):
        raise ValueError("no values to resample")
    rng = np.random.default_rng(seed)
    means: NDArray[np.float64] = np.empty(RESAMPLES)
    for at in range(0, RESAMPLES, _RESAMPLED_AT_ONCE):
        draws = rng.integers(len(given), size=(_RESAMPLED_AT_ONCE, len(given)))
        means[at : at + _RESAMPLED_AT_ONCE] = given[draws].mean(axis=1)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def _first(ranked: Sequence[str], k: int) -> list[str]:
    return list(dict.fromkeys(ranked))[:k]


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
