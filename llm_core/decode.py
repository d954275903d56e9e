"""The decoding loop: forced tokens in one pass, one picked token at a time otherwise."""

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from llm_core.constrain import Guide
from llm_core.sampling import Sampler, log_probability


@dataclass(frozen=True)
class Step:
    """One token, with its log-probability under the bare model (0.0 where it was forced)."""

    token: int
    logprob: float


class Bias(Protocol):
    """A preference among tokens that depends on what was written so far."""

    def add(self, logits: Tensor) -> Tensor:
        """The logits (V,) with the preference added; the argument stays as it is."""
        ...

    def accept(self, token: int) -> None:
        """Note the token that was written."""
        ...


@dataclass
class Decoder:
    """How one reply is written: at most `limit` tokens, ended early by any of `stop_ids`."""

    sampler: Sampler
    stop_ids: Collection[int]
    limit: int
    guide: Guide | None = None
    bias: Bias | None = None

    def run(
        self, step: Callable[[Sequence[int]], Tensor], logits: Tensor
    ) -> Generator[Step, None, str]:
        """Yield tokens; returns "stop" or "length".

        `step` appends tokens and gives the logits (V,) after them; `logits` are those after
        the prompt.
        """
        made, waiting = 0, list[int]()
        while True:
            for token in self.guide.forced() if self.guide else ():
                waiting.append(token)
                self._note(token)
                made += 1
                yield Step(token, 0.0)
            if self.guide is not None and self.guide.done():
                return "stop"
            if made >= self.limit:
                return "length"
            if waiting:
                logits = step(waiting)
            token = self._pick(logits)
            if token in self.stop_ids:
                return "stop"
            waiting = [token]
            self._note(token)
            made += 1
            yield Step(token, log_probability(logits, token))

    def _pick(self, logits: Tensor) -> int:
        if self.bias is not None:
            logits = self.bias.add(logits)
        if self.guide is None:
            return self.sampler.pick(logits)
        allowed = torch.from_numpy(self.guide.mask())
        return self.guide.accept(self.sampler.pick(logits.masked_fill(~allowed, -torch.inf)))

    def _note(self, token: int) -> None:
        if self.bias is not None:
            self.bias.accept(token)
