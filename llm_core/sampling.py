"""Choose the next token from logits: penalties, temperature, top-k, top-p, min-p, greedy.

Sorting 49,152 logits costs more than a fast decode step. The tokens to draw from are found by
comparisons with a cut below the best one, and a histogram where they are many; what is kept
is what a full sort would keep, and tokens are drawn in the order of their ids.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Ids = NDArray[np.intp]
_CUT = -4.0  # the first cut, in natural log below the best token; doubled while it is too high
_LOWEST = -1e5  # below every finite scaled logit that has any mass
_BLOCK = 256  # tokens summed together before one is drawn
_PER_UNIT, _BINS = 32.0, 4096.0  # histogram of top-p: bins a unit of scaled logit, and in all
_SEEDS = 2**64


@dataclass(frozen=True)
class Sampling:
    """How to pick tokens; temperature 0 is greedy.

    `top_k` 0, `top_p` 1, `min_p` 0, `repetition_penalty` 1 and `frequency_penalty` 0 switch
    those off. The repetition penalty divides the positive logits of tokens seen in the prompt
    or the reply, and multiplies the negative ones (Keskar et al. 2019, CTRL); the frequency
    penalty is subtracted once for every time the reply has used the token.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0, not {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if not 0 <= self.min_p < 1:
            raise ValueError(f"min_p must be at least 0 and below 1, not {self.min_p}")
        if not self.repetition_penalty > 0:
            raise ValueError(f"repetition_penalty must be above 0, not {self.repetition_penalty}")


class Sampler:
    """Picks the tokens of one reply, with a random generator of its own.

    The generator depends on the seed alone, so a reply is the same whatever else is decoded
    beside it. `prompt` is what the repetition penalty counts besides the reply.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int] = ()) -> None:
        self._sampling = sampling
        seed = None if sampling.seed is None else sampling.seed % _SEEDS
        self._random = np.random.default_rng(seed)
        self._seen = set(prompt) if sampling.repetition_penalty != 1 else set[int]()
        self._used: Counter[int] = Counter()

    def pick(self, logits: Tensor, allowed: NDArray[np.bool_] | None = None) -> int:
        """One token id from float32 logits (V,), where -inf or `allowed` False forbids."""
        how = self._sampling
        values = self._penalised(logits.numpy())
        if allowed is not None:
            values = np.where(allowed, values, np.float32(-np.inf))
        if how.temperature == 0 or how.top_k == 1:
            return int(values.argmax())
        scaled = (values - values.max()) / np.float32(how.temperature)
        ids = _kept(scaled, how)
        draw = self._random.random()
        if ids is None:
            return _draw(np.exp(scaled), draw)
        return int(ids[_draw(np.exp(scaled[ids]), draw)])

    def note(self, token: int) -> None:
        """Count a token of the reply for the penalties."""
        if self._sampling.repetition_penalty != 1:
            self._seen.add(token)
        if self._sampling.frequency_penalty:
            self._used[token] += 1

    def _penalised(self, values: Floats) -> Floats:
        if not self._seen and not self._used:
            return values
        values = values.copy()
        if self._seen:
            ids = np.fromiter(self._seen, dtype=np.intp)
            seen, factor = values[ids], np.float32(self._sampling.repetition_penalty)
            values[ids] = np.where(seen > 0, seen / factor, seen * factor)
        if self._used:
            ids = np.fromiter(self._used, dtype=np.intp)
            times = np.fromiter(self._used.values(), dtype=np.float32)
            values[ids] -= np.float32(self._sampling.frequency_penalty) * times
        return values


def _draw(mass: Floats, draw: float) -> int:
    """The place in `mass` (N,) where its running sum passes `draw` (in [0, 1)) of the whole."""
    starts = np.arange(0, len(mass), _BLOCK)
    blocks = np.add.reduceat(mass, starts, dtype=np.float64).cumsum()
    wanted = draw * blocks[-1]
    block = int(blocks.searchsorted(wanted, side="right"))
    block = min(block, int(blocks.searchsorted(blocks[-1])))  # never past the last mass
    before = blocks[block - 1] if block else 0.0
    part = mass[block * _BLOCK : (block + 1) * _BLOCK].cumsum(dtype=np.float64)
    place = int(part.searchsorted(wanted - before, side="right"))
    return block * _BLOCK + min(place, int(part.searchsorted(part[-1])))


def _kept(scaled: Floats, how: Sampling) -> Ids | None:
    """The ids, ascending, to draw from by scaled logits (V,), best 0.0; None is all of them."""
    ids = None
    if how.top_k and how.top_k < len(scaled):
        ids = top_ids(scaled, how.top_k)
    if how.top_p < 1:
        ids = _nucleus(scaled, ids, how.top_p)
    if how.min_p:
        floor = np.float32(np.log(how.min_p))
        ids = np.flatnonzero(scaled >= floor) if ids is None else ids[scaled[ids] >= floor]
    return ids


def top_ids(scaled: Floats, count: int) -> Ids:
    """The ids, ascending, of the `count` highest of (V,), whose best is 0.0.

    Of equal ones those with lower ids.
    """
    cut = _CUT
    ids = np.flatnonzero(scaled >= cut)
    while len(ids) < count and cut > _LOWEST:
        cut *= 2
        ids = np.flatnonzero(scaled >= cut)
    if len(ids) <= count:
        return ids
    values = scaled[ids]
    edge = np.partition(values, len(values) - count)[len(values) - count]
    keep = values > edge
    keep[np.flatnonzero(values == edge)[: count - int(keep.sum())]] = True
    best: Ids = ids[keep]
    return best


def _nucleus(scaled: Floats, within: Ids | None, top_p: float) -> Ids:
    """The fewest ids, of `within`, that hold `top_p` of the mass; one at least."""
    if within is None:
        wanted = top_p * np.exp(scaled).sum(dtype=np.float64)
        cut = _CUT
        ids = np.flatnonzero(scaled >= cut)
        while np.exp(scaled[ids]).sum(dtype=np.float64) < wanted and cut > _LOWEST:
            cut *= 2
            ids = np.flatnonzero(scaled >= cut)
    else:
        ids = within
        wanted = top_p * np.exp(scaled[ids]).sum(dtype=np.float64)
    values = scaled[ids]
    mass = np.exp(values)
    bins = np.minimum(values * -_PER_UNIT, _BINS).astype(np.intp)
    sums = np.bincount(bins, weights=mass).cumsum()
    edge = int(sums.searchsorted(wanted))
    keep = bins < edge
    left = wanted - (sums[edge - 1] if edge else 0.0)
    ties = np.flatnonzero(bins == edge)  # only these need an order
    ties = ties[np.argsort(-values[ties], kind="stable")]
    keep[ties[: int((mass[ties].cumsum(dtype=np.float64) < left).sum()) + 1]] = True
    nucleus: Ids = ids[keep]
    return nucleus


def log_normaliser(logits: Floats) -> float:
    """Natural log of the summed exponentials of logits (V,)."""
    best = logits.max()
    shifted = logits - best
    return float(best) + math.log(np.exp(shifted, out=shifted).sum())  # numpy sums in pairs


def log_probability(logits: Tensor, token: int) -> float:
    """Natural log of the model's own probability of `token`, from logits (V,)."""
    values = logits.numpy()
    return float(values[token]) - log_normaliser(values)


def best_tokens(logits: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """The `count` most probable tokens of logits (V,), each with its log-probability."""
    values = logits.numpy()
    if count < 1:
        return ()
    ids = top_ids(values - values.max(), count)
    ids = ids[np.argsort(-values[ids], kind="stable")]
    normaliser = log_normaliser(values)
    return tuple((int(token), float(values[token]) - normaliser) for token in ids)
