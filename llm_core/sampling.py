"""Choose the next token from logits: greedy, temperature, top-k and top-p.

Sorting 49,152 logits costs more than a fast decode step, so top-p looks at a short sorted
head and widens it only when the head does not hold the wanted mass.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_HEAD = 256  # candidates sorted first; doubled until they hold top_p of the mass


@dataclass(frozen=True)
class Sampling:
    """How to pick tokens; temperature 0 is greedy. `top_k` 0 and `top_p` 1 switch those off."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0, not {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")


class Sampler:
    """Picks tokens by one `Sampling`, with its own random generator."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def pick(self, logits: Tensor) -> int:
        """One token id from logits (V,), where -inf means forbidden."""
        how = self._sampling
        if how.temperature == 0 or how.top_k == 1:
            return int(logits.argmax())
        scaled = (logits - logits.max()) / how.temperature
        ids, kept = _candidates(scaled, how.top_k, how.top_p)
        probabilities = torch.softmax(kept, dim=-1)
        choice = int(torch.multinomial(probabilities, 1, generator=self._random))
        return choice if ids is None else int(ids[choice])


def _candidates(scaled: Tensor, top_k: int, top_p: float) -> tuple[Tensor | None, Tensor]:
    """The ids and logits to draw from; ids None stands for the whole vocabulary."""
    ids = None
    if top_k and top_k < scaled.numel():
        scaled, ids = scaled.topk(top_k)
    if top_p >= 1:
        return ids, scaled
    total = scaled.logsumexp(0)
    width = _HEAD
    while True:
        width = min(width, scaled.numel())
        head, order = scaled.topk(width)
        mass = (head - total).exp().cumsum(0)
        if float(mass[-1]) >= top_p or width == scaled.numel():
            break
        width *= 2
    # Keep the first token that reaches top_p, so at least one stays.
    count = min(int((mass < top_p).sum()) + 1, width)
    kept = order[:count]
    return (kept if ids is None else ids[kept]), head[:count]


def log_probability(logits: Tensor, token: int) -> float:
    """Natural log of the model's own probability of `token`, from logits (V,)."""
    return float(logits[token] - logits.logsumexp(0))
