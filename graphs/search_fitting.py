"""Choose how strongly the stages of a search count, on questions with relevance judgements.

Each stage is chosen after the one before it: the shares of the two rankings, then how much
neighbours vouch for one another, then the weight of late interaction. `cross_validated` judges
the choice on questions it was not made on. Every option is a handful of numbers, so nothing here
can learn a corpus by heart.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from graphs.evaluate.ir_metrics import ndcg
from retrievers.fusion import Normalisation, normalised, reciprocal_rank_fusion, weighted_fusion
from retrievers.rerank.neighbours import NEIGHBOURS, smoothed

Floats = NDArray[np.float64]
Ranking = list[tuple[str, float]]

LEXICAL: Final = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
NORMALISATIONS: Final[tuple[Normalisation, ...]] = ("minmax", "zscore", "max")
SHARES: Final = (0.1, 0.2, 0.3, 0.4)
LATE: Final = (0.25, 0.5, 0.75, 1.0, 1.5)
CANDIDATES: Final = 100  # of each ranking
MEASURED: Final = 10  # nDCG at this depth, which is as deep as late interaction judges


@dataclass(frozen=True)
class Choice:
    """Settings of the stages; a share or weight of 0 turns its stage off."""

    lexical: float = 1.0  # beside 1 for the dense ranking
    normalisation: Normalisation = "minmax"
    share: float = 0.0
    neighbours: int = NEIGHBOURS
    late: float = 0.0


# ids to their late interaction with the question of a case
Judge = Callable[["Case", Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class Case:
    """One question: what both rankings found, with both scores of every candidate, and grades."""

    question: str
    lexical: Ranking
    dense: Ranking
    vectors: Mapping[str, NDArray[np.float32]] = field(repr=False)
    grades: Mapping[str, int] = field(repr=False)


class Trials:
    """nDCG of every case under a choice, each computed once."""

    def __init__(self, cases: Sequence[Case], judge: Judge | None = None) -> None:
        self.cases = list(cases)
        self._judge = judge
        self._held: dict[Choice, Floats] = {}
        self._fused: dict[Choice, list[Ranking]] = {}
        self._late: dict[tuple[int, str], float] = {}

    def scores(self, choice: Choice) -> Floats:
        """One figure a case, (Q,)."""
        if choice not in self._held:
            ranked = [self.ranking(at, choice) for at in range(len(self.cases))]
            pairs = zip(ranked, self.cases, strict=True)
            figures = [ndcg([id_ for id_, _ in r], case.grades, MEASURED) for r, case in pairs]
            self._held[choice] = np.asarray(figures)
        return self._held[choice]

    def ranking(self, at: int, choice: Choice) -> Ranking:
        """The candidates of case `at` under a choice, best first."""
        before = self._before_late(replace(choice, late=0.0))[at]
        if not choice.late or self._judge is None:
            return before
        head = before[:MEASURED]
        late = self._judged(at, [id_ for id_, _ in head])
        total = normalised([s for _, s in head]) + choice.late * normalised(late)
        order = np.argsort(-total, kind="stable")
        return [(head[row][0], float(total[row])) for row in order] + before[MEASURED:]

    def _judged(self, at: int, ids: Sequence[str]) -> list[float]:
        assert self._judge is not None
        new = [id_ for id_ in ids if (at, id_) not in self._late]
        if new:
            found = self._judge(self.cases[at], new)
            self._late |= {(at, id_): score for id_, score in zip(new, found, strict=True)}
        return [self._late[at, id_] for id_ in ids]

    def _before_late(self, choice: Choice) -> list[Ranking]:
        if choice not in self._fused:
            self._fused[choice] = [_ranked(case, choice) for case in self.cases]
        return self._fused[choice]


def _ranked(case: Case, choice: Choice) -> Ranking:
    weights = [choice.lexical, 1.0]
    fused = weighted_fusion([case.lexical, case.dense], weights, choice.normalisation)
    if not choice.share:
        return fused
    rows = np.stack([case.vectors[id_] for id_, _ in fused])
    mixed = smoothed([score for _, score in fused], rows, choice.share, choice.neighbours)
    order = np.argsort(-mixed, kind="stable")
    return [(fused[row][0], float(mixed[row])) for row in order]


def steps(*, late: bool) -> dict[str, Callable[[Choice], Iterator[Choice]]]:
    """The stages in their order, each with the options it adds to what was chosen before."""

    def fusion(_: Choice) -> Iterator[Choice]:
        for lexical in sorted(LEXICAL, key=lambda share: abs(math.log(share))):
            for normalisation in NORMALISATIONS:
                yield Choice(lexical=lexical, normalisation=normalisation)

    def smoothing(chosen: Choice) -> Iterator[Choice]:
        yield chosen
        for share in SHARES:
            yield replace(chosen, share=share)

    def interaction(chosen: Choice) -> Iterator[Choice]:
        yield chosen
        for weight in LATE:
            yield replace(chosen, late=weight)

    held = {"fusion": fusion, "smoothing": smoothing}
    return held | {"late_interaction": interaction} if late else held


def choose(trials: Trials, rows: Sequence[int], *, late: bool) -> dict[str, Choice]:
    """The best choice after each stage by mean nDCG over the cases `rows`; ties: the first.

    Shares that are within one standard error of the best are told apart by chance: of these the
    ones nearest to equal shares are chosen, which suit other corpora best (the one-standard-error
    rule of Breiman and others, 1984).
    """
    chosen, found = Choice(), {}
    for name, options in steps(late=late).items():
        tried = list(options(chosen))
        scores = np.stack([trials.scores(option)[list(rows)] for option in tried])  # (O, Q)
        at = int(np.argmax(scores.mean(axis=1)))
        if name == "fusion":
            behind = scores[at] - scores  # (O, Q)
            error = behind.std(axis=1) / math.sqrt(len(rows))
            at = int(np.flatnonzero(behind.mean(axis=1) <= error + 1e-12)[0])
        chosen = found[name] = tried[at]
    return found


def cross_validated(
    trials: Trials, folds: int, seed: int, *, late: bool
) -> tuple[dict[str, Floats], dict[str, Choice]]:
    """nDCG of every case after each stage, chosen on the other folds; and the choice on all."""
    count = len(trials.cases)
    order = np.random.default_rng(seed).permutation(count)
    held: dict[str, Floats] = {name: np.zeros(count) for name in steps(late=late)}
    for fold in range(folds):
        left_out = order[fold::folds]
        others = np.setdiff1d(order, left_out).tolist()
        for name, choice in choose(trials, others, late=late).items():
            held[name][left_out] = trials.scores(choice)[left_out]
    return held, choose(trials, range(count), late=late)


def baselines(trials: Trials) -> dict[str, Floats]:
    """nDCG of every case for either ranking alone and for their plain reciprocal rank fusion.

    Each ranking is as its own search gives it: the first `CANDIDATES`, those by words above zero.
    """
    found: dict[str, list[float]] = {"bm25": [], "dense": [], "rank_fusion": []}
    for case in trials.cases:
        words = [id_ for id_, score in case.lexical[:CANDIDATES] if score > 0]
        near = [id_ for id_, _ in case.dense[:CANDIDATES]]
        both = [id_ for id_, _ in reciprocal_rank_fusion([words, near])]
        for name, ids in zip(found, (words, near, both), strict=True):
            found[name].append(ndcg(ids, case.grades, MEASURED))
    return {name: np.asarray(values) for name, values in found.items()}


def fit_logistic(rows: Floats, wanted: Floats, l2: float = 1e-3) -> tuple[Floats, float]:
    """Weights (F,) and bias of logistic regression on raw features (N, F), by Newton's method."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    inputs = np.hstack([(rows - mean) / spread, np.ones((len(rows), 1))])
    free = np.zeros(inputs.shape[1])
    hold = l2 * len(rows) * np.eye(len(free))
    hold[-1, -1] = 0.0  # the bias is free
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ free, -30, 30)))
        slope = inputs.T @ (chance - wanted) + hold @ free
        curve = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + hold
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(free)), slope)
        free -= step
        if np.abs(step).max() < 1e-8:
            break
    weights: Floats = free[:-1] / spread
    return weights, float(free[-1] - weights @ mean)


def calibration_error(chances: Floats, happened: Floats, bins: int = 10) -> float:
    """Expected calibration error: mean distance of chance and share, over bins of equal size."""
    order = np.argsort(chances, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(p) * abs(float(chances[p].mean() - happened[p].mean())) for p in parts]
    return sum(gaps) / len(order) if len(order) else 0.0


def as_json(choice: Choice) -> dict[str, Any]:
    """A choice as JSON values."""
    return asdict(choice)
