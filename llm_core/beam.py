"""Beam search: the replies of highest probability that can be found a few at a time.

A reply's score is its summed log-probability, the end token's with it, divided by its number
of tokens to the power of the length penalty. A beam ends when an end token ranks among the
best continuations; the search ends when no living beam can overtake the worst reply kept.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor

from llm_core.cache import common_prefix
from llm_core.packing import side_by_side
from llm_core.run import Machine, Mode, Run, forward
from llm_core.sampling import log_normaliser, top_ids


@dataclass(frozen=True)
class Hypothesis:
    """One reply without its end token; `finish` is "stop" or "length"."""

    tokens: list[int]
    logprob: float
    score: float
    finish: str


@dataclass(frozen=True)
class _Next:
    """A beam continued by one token."""

    logprob: float
    beam: int
    token: int


class BeamSearch:
    """One search over one model; `run` gives the best replies, best first."""

    def __init__(
        self,
        machine: Machine,
        mode: Mode,
        stop_ids: Collection[int],
        beams: int,
        length_penalty: float,
    ) -> None:
        self._machine = machine
        self._mode = mode
        self._stop_ids = frozenset(stop_ids)
        self._beams = beams
        self._penalty = length_penalty
        self._done: list[Hypothesis] = []

    def run(self, prompt: Sequence[int], max_tokens: int) -> list[Hypothesis]:
        """At most as many replies as there are beams, best first."""
        capacity = len(prompt) + max_tokens
        first = Run(self._machine, self._mode, capacity)
        logits = [first.prefill(prompt)]
        runs, sums = [first], [0.0]
        for made in range(max_tokens):
            ranked = self._ranked(logits, sums)
            last = made + 1 == max_tokens
            self._finish(ranked[: self._beams], runs, len(prompt), last)
            if last:
                break
            living = [way for way in ranked if way.token not in self._stop_ids][: self._beams]
            if not living or self._settled(living[0].logprob, made + 1):
                break
            while len(runs) < len(living):  # after the first token only
                runs.append(Run(self._machine, self._mode, capacity))
            order = _place(runs, living)
            sums = [way.logprob for way in order]
            logits = self._step(runs, [way.token for way in order])
        return self._done

    def _ranked(self, logits: Sequence[Tensor], sums: Sequence[float]) -> list[_Next]:
        """The best continuations of all beams, enough for each beam to go on past its end."""
        count = self._beams * (1 + max(1, len(self._stop_ids)))
        ways: list[_Next] = []
        for beam, (row, total) in enumerate(zip(logits, sums, strict=True)):
            values = row.numpy()
            normaliser = log_normaliser(values)
            ids = top_ids(values - values.max(), min(count, len(values)))
            ways += [_Next(total + float(values[i]) - normaliser, beam, int(i)) for i in ids]
        ways.sort(key=lambda way: (-way.logprob, way.beam, way.token))
        return ways[:count]

    def _finish(self, ways: Sequence[_Next], runs: Sequence[Run], start: int, last: bool) -> None:
        for way in ways:
            tokens = runs[way.beam].tokens[start:]
            ended = way.token in self._stop_ids
            if ended or last:
                score = way.logprob / (len(tokens) + 1) ** self._penalty
                kept = tokens if ended else [*tokens, way.token]
                finish = "stop" if ended else "length"
                self._done.append(Hypothesis(kept, way.logprob, score, finish))
        self._done.sort(key=lambda reply: -reply.score)
        del self._done[self._beams :]

    def _settled(self, best: float, made: int) -> bool:
        """Whether the worst reply kept beats what the best living beam has now."""
        if len(self._done) < self._beams:
            return False
        return self._done[-1].score >= best / float(made**self._penalty)

    def _step(self, runs: Sequence[Run], tokens: Sequence[int]) -> list[Tensor]:
        rows, reads = side_by_side(
            [([token], len(run.tokens)) for run, token in zip(runs, tokens, strict=True)]
        )
        logits = forward(self._machine, self._mode, rows, [run.cache for run in runs], reads)
        for run, token in zip(runs, tokens, strict=True):
            run.tokens.append(token)
        return list(logits)


def _place(runs: Sequence[Run], ways: Sequence[_Next]) -> list[_Next]:
    """Give each continuation a run that holds its beam; the continuations in order of runs.

    The first continuation of a beam stays where the beam is. The others take runs whose beams
    died, and copy only the columns in which the two differ.
    """
    order: list[_Next | None] = [None] * len(runs)
    moving: list[_Next] = []
    for way in ways:
        if order[way.beam] is None:
            order[way.beam] = way
        else:
            moving.append(way)
    free = [place for place, way in enumerate(order) if way is None]
    copies = []
    for place, way in zip(free, moving, strict=True):
        tokens = runs[way.beam].tokens
        shared = common_prefix(tokens, runs[place].tokens)
        copies.append((place, shared, runs[way.beam].cache.read(shared, len(tokens)), tokens))
        order[place] = way
    for place, shared, block, tokens in copies:  # only now: a source may be a target too
        runs[place].take_over(block, shared, tokens)
    return [way for way in order if way is not None]
