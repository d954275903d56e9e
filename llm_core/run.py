"""The state of one sequence in the engine: its cache, its tokens, and passes over them."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llm_core.backend import Backend, KVCache, Rows
from llm_core.cache import BLOCK, PrefixStore
from llm_core.decode import Decoder, Step
from llm_core.errors import ModelError
from llm_core.lookup import Lookup
from llm_core.packing import Branch, passes
from llm_core.sampling import log_probability
from llm_core.turns import Pass, Turns

if TYPE_CHECKING:
    from llm_core.adapters import Adapter

_GRID = 8 * BLOCK  # in repeatable calls, passes over a prompt end on multiples of this
_FIXED_THREADS = 1  # in repeatable calls: sums are rounded by how work is split
_PASS_ROWS, _PASS_READS = 256, 128  # of branches; a read costs a row of logits


class GenerationCancelledError(ModelError):
    """The caller asked to stop before the reply was complete."""


@dataclass(frozen=True)
class Machine:
    """What all runs of one engine share."""

    backend: Backend
    turns: Turns
    store: PrefixStore
    threads: Callable[[], int]


@dataclass(frozen=True)
class Mode:
    """How one call runs: with which adapter, repeatably or not, and until when."""

    adapter: "Adapter | None" = None
    deterministic: bool = False
    cancel: threading.Event | None = None

    def check_cancel(self) -> None:
        """Raise GenerationCancelledError where the caller asked to stop."""
        if self.cancel is not None and self.cancel.is_set():
            raise GenerationCancelledError("the reply was cancelled before it was complete")


class Run:
    """One sequence: `tokens` are those that its cache stands for."""

    def __init__(self, machine: Machine, mode: Mode, capacity: int, *, guess: bool = False) -> None:
        self._machine = machine
        self._mode = mode
        self._cache: KVCache = machine.backend.new_cache(capacity)
        self._capacity = capacity  # the cache may round it up, past the window
        self._guess = guess
        self._lookup: Lookup | None = None
        self._ahead: deque[tuple[int, Tensor]] = deque()  # guessed tokens, logits after each
        self._guessed = self._right = 0
        # A backend that rounds by shape repeats itself only with fixed shapes.
        self._fixed = mode.deterministic and not machine.backend.invariant
        self._scope = (mode.adapter.key if mode.adapter else None, self._fixed)
        self._storable = capacity  # leading tokens that later calls may reuse
        self.tokens: list[int] = []

    def write(self, prompt: Sequence[int], decoder: Decoder) -> Generator[Step, None, str]:
        """Yield the tokens of one reply to a prompt; returns why it ended."""
        try:
            logits = self.prefill(prompt)
            steps = decoder.begin()
            while True:
                for step in steps:
                    yield step
                    self._mode.check_cancel()
                if decoder.finish is not None:
                    return decoder.finish
                if decoder.waiting:
                    logits = self.step(decoder.waiting)
                steps = decoder.take(logits)
        finally:
            self.keep()

    def prefill(self, tokens: Sequence[int]) -> Tensor:
        """Read a prompt, reusing what is kept of it; logits (V,) after its last token."""
        store, backend = self._machine.store, self._machine.backend
        tokens = list(tokens)
        multiple = _GRID if self._fixed else BLOCK
        at = store.fill(self._cache, tokens[:-1], self._scope, multiple)
        self.tokens = tokens[:at]
        if self._fixed:
            self._storable = len(tokens) // _GRID * _GRID
        logits = torch.empty(0)
        while at < len(tokens):
            end = at // _GRID * _GRID + _GRID if self._fixed else at + backend.chunk
            end = min(end, len(tokens))
            part = Rows.sequence(tokens[at:end], at)
            logits = self._forward(part, [end - at - 1] if end == len(tokens) else [])
            self.tokens += tokens[at:end]
            at = end
        if self._guess:
            self._lookup = Lookup(tokens)
        self.keep()  # now, so that calls that wait with the same beginning have it
        return logits[0]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append tokens; logits (V,) after the last of them."""
        self._mode.check_cancel()
        rest = list(tokens)
        if self._lookup is not None:
            self._lookup.note(rest)
        while rest and self._ahead and self._ahead[0][0] == rest[0]:
            token, logits = self._ahead.popleft()
            self.tokens.append(token)
            self._right += 1
            rest = rest[1:]
            if not rest:
                return logits
        return self._append(rest)

    def score(self, branches: Sequence[tuple[int, Branch]]) -> dict[int, float]:
        """Summed log-probabilities by branch number, of all that the branches' rows predict."""
        prefix = len(self.tokens)
        sums = {number: 0.0 for number, _ in branches}
        try:
            for part in passes(branches, prefix, _PASS_ROWS, _PASS_READS):
                logits = self._forward(part.rows, part.reads)
                gained = log_probabilities(logits, part.targets)
                for number, value in zip(part.owners, gained, strict=True):
                    sums[number] += value
        finally:
            self._cache.truncate(prefix)
        return sums

    def take_over(self, block: Any, start: int, tokens: Sequence[int]) -> None:
        """Become another run with these tokens, given its columns from `start` on."""
        self._cache.truncate(start)
        self._cache.write(block, len(tokens) - start)
        self.tokens = list(tokens)

    def keep(self) -> None:
        """Hand what was computed to later calls."""
        self._machine.store.keep(self._cache, self.tokens[: self._storable], self._scope)

    @property
    def cache(self) -> KVCache:
        """The cache, for passes over several runs."""
        return self._cache

    def _append(self, tokens: list[int]) -> Tensor:
        at = len(self.tokens)
        self._drop_guesses(at)
        guesses: list[int] = []
        if self._lookup is not None:
            guesses = self._lookup.draft(self._capacity - at - len(tokens))
        rows = Rows.sequence([*tokens, *guesses], at)
        logits = self._forward(rows, list(range(len(tokens) - 1, len(rows.tokens))))
        self.tokens += tokens
        after = logits.unbind()
        self._ahead.extend(zip(guesses, after[1:], strict=True))
        self._guessed, self._right = len(guesses), 0
        return after[0]

    def _drop_guesses(self, at: int) -> None:
        if self._guessed and self._lookup is not None:
            self._lookup.learn(self._guessed, self._right)
        self._ahead.clear()
        self._guessed = self._right = 0
        if self._cache.length > at:
            self._cache.truncate(at)

    def _forward(self, rows: Rows, reads: Sequence[int]) -> Tensor:
        return forward(self._machine, self._mode, rows, [self._cache], reads)


def forward(
    machine: Machine, mode: Mode, rows: Rows, caches: Sequence[KVCache], reads: Sequence[int]
) -> Tensor:
    """One pass, when its turn has come; float32 logits (len(reads), V)."""
    fixed = mode.deterministic and not machine.backend.invariant
    threads = (lambda: _FIXED_THREADS) if fixed else machine.threads
    job = Pass(rows, caches, reads, mode.adapter, threads, alone=mode.deterministic)
    logits = machine.turns.run(job, mode.cancel)
    mode.check_cancel()
    assert logits is not None, "only a cancelled pass is not run"
    return logits


def log_probabilities(logits: Tensor, targets: Sequence[int]) -> list[float]:
    """Log-probability of targets[i] under logits (R, V), row by row."""
    return [log_probability(row, target) for row, target in zip(logits, targets, strict=True)]
