"""Choose the next token from logits: penalties, temperature, top-k, top-p, min-p, greedy.

Sorting 49,152 logits costs more than a fast decode step, so nothing is sorted whole: top-k is
found by comparisons with a cut below the best token, and top-p draws from all tokens until
one falls inside. What may be drawn, and how often, is what a full sort would give.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from llm_core.masks import Mask

Floats = NDArray[np.float32]
Ids = NDArray[np.intp]
_CUT = -4.0  # the first cut, in natural log below the best token; doubled while it is too high
_LOWEST = -1e5  # below every finite scaled logit that has any mass
_BLOCK = 256  # tokens summed together before one is drawn
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

    def pick(self, logits: Tensor, mask: Mask | None = None) -> int:
        """One token id from float32 logits (V,), where -inf or `mask` forbids."""
        how = self._sampling
        values = self._penalised(logits.numpy())
        greedy = how.temperature == 0 or how.top_k == 1
        if greedy and (mask is None or mask.allows(int(values.argmax()))):
            return int(values.argmax())
        if mask is not None:
            values = np.where(mask.array(), values, np.float32(-np.inf))
        if greedy:
            return int(values.argmax())
        scaled = (values - values.max()) / np.float32(how.temperature)
        if not how.top_k:
            return self._pick_of_all(scaled)
        ids = top_ids(scaled, how.top_k)
        if how.top_p < 1:
            ids = _nucleus(scaled, ids, how.top_p)
        ids = ids[scaled[ids] >= _floor(how.min_p)]
        return int(ids[_draw(np.exp(scaled[ids]), self._random.random())])

    def _pick_of_all(self, scaled: Floats) -> int:
        """A token by scaled logits (V,), best 0.0, under top-p and min-p.

        A token is of the nucleus if those before it, by logit and then by id, hold less than
        `top_p` of the mass. One that is not is drawn no more, nor any after it: what is drawn
        from always holds the nucleus, so a draw inside has its probability there.
        """
        how = self._sampling
        mass = np.exp(scaled)
        wanted = how.top_p * mass.sum(dtype=np.float64)
        if how.min_p:
            mass[scaled < _floor(how.min_p)] = 0.0
        while True:
            token = _draw(mass, self._random.random())
            if how.top_p == 1:
                return token
            value = scaled[token]
            before = mass @ (scaled > value) + mass[:token] @ (scaled[:token] == value)
            if before < wanted:
                return token
            mass[scaled < value] = 0.0
            mass[token:][scaled[token:] == value] = 0.0

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


def _floor(min_p: float) -> float:
    """The scaled logit under which min-p forbids."""
    return math.log(min_p) if min_p else -math.inf


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


def _nucleus(scaled: Floats, ids: Ids, top_p: float) -> Ids:
    """The fewest of `ids`, ascending, that hold `top_p` of their mass; one at least."""
    order = ids[np.argsort(-scaled[ids], kind="stable")]
    mass = np.exp(scaled[order]).cumsum(dtype=np.float64)
    return np.sort(order[: int((mass < top_p * mass[-1]).sum()) + 1])


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
