"""The decoding of one reply: forced tokens in one pass, one picked token at a time otherwise.

The decoder never calls the model. It is given logits and says which tokens the model must
read next, so that one reply, several side by side, and drafted tokens share it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from llm_core.guides import Guide
from llm_core.loops import LoopGuard
from llm_core.sampling import Sampler, best_tokens, log_probability


@dataclass(frozen=True)
class Step:
    """One token, with its log-probability under the bare model.

    That is 0.0 where the token was forced, and where nobody asked for it.

    `top` holds the most probable tokens at its place, where these were asked for.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class Bias(Protocol):
    """A preference among tokens that depends on what was written so far."""

    def gains(self) -> tuple[Sequence[int], NDArray[np.float32]] | None:
        """Tokens (N,) and what the logit of each gains now (N,), None for no preference.

        Of a token that stands twice the last counts.
        """
        ...

    def accept(self, token: int) -> None:
        """Note the token that was written."""
        ...


class Decoder:
    """How one reply is written: at most `limit` tokens, ended early by any of `stop_ids`.

    `finish` is None while it goes on, then "stop", "length" or "repetition"; `waiting` are
    the tokens that the model has not read yet.
    """

    def __init__(
        self,
        sampler: Sampler,
        stop_ids: Collection[int],
        limit: int,
        guide: Guide | None = None,
        bias: Bias | None = None,
        *,
        top: int | None = 0,
        loops: LoopGuard | None = None,
    ) -> None:
        self._sampler = sampler
        self._stop_ids = stop_ids
        self._left = limit
        self._guide = guide
        self._bias = bias
        self._top = top
        self._loops = loops
        self.waiting: list[int] = []
        self.finish: str | None = None

    def begin(self) -> list[Step]:
        """The tokens that must come first, perhaps none."""
        return self._forced()

    def take(self, logits: Tensor) -> list[Step]:
        """The next tokens, given float32 logits (V,) after everything that was waiting."""
        token = self._pick(logits)
        if token in self._stop_ids:
            self.finish = "stop"
            return []
        self.waiting = []
        step = self._step(token, logits)
        self._note(token)
        return [step, *self._forced()]

    def _step(self, token: int, logits: Tensor) -> Step:
        if self._top is None:  # the sum over all tokens takes longer than choosing one
            return Step(token, 0.0)
        return Step(token, log_probability(logits, token), best_tokens(logits, self._top))

    def _forced(self) -> list[Step]:
        steps = []
        for token in self._guide.forced() if self._guide else ():
            self._note(token)
            steps.append(Step(token, 0.0))
        if self._guide is not None and self._guide.done():
            self.finish = "stop"
        elif self.finish is None and self._left <= 0:
            self.finish = "length"
        return steps

    def _pick(self, logits: Tensor) -> int:
        found = None if self._bias is None else self._bias.gains()
        if found is None:
            return self._choose(logits)
        tokens = np.array(found[0], np.intp)
        values = logits.numpy()
        bare = values[tokens]
        values[tokens] = bare + found[1]  # a copy of all would take longer than all the rest
        try:
            return self._choose(logits)
        finally:
            values[tokens] = bare

    def _choose(self, logits: Tensor) -> int:
        if self._guide is None:
            return self._sampler.pick(logits)
        return self._guide.accept(self._sampler.pick(logits, self._guide.mask()))

    def _note(self, token: int) -> None:
        self.waiting.append(token)
        self._left -= 1
        self._sampler.note(token)
        if self._bias is not None:
            self._bias.accept(token)
        if self._loops is not None and self._loops.note(token):
            self.finish = "repetition"
