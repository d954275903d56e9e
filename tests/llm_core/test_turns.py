import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llm_core.backend import Rows
from llm_core.turns import Pass, Turns
from tests.threads import in_threads


class Backend:
    """Answers each row with its own token, and holds every pass until it is let through."""

    chunk = 8

    def __init__(self, invariant: bool = True) -> None:
        self.invariant = invariant
        self.passes: list[list[int]] = []
        self.gate = threading.Event()
        self.wrong = -1  # a token that no pass may hold
        self.inside = 0

    def forward(
        self, rows: Rows, caches: Sequence[Any], reads: Sequence[int], *_: Any
    ) -> torch.Tensor:
        self.inside += 1
        assert self.inside == 1, "two passes at a time"
        try:
            self.passes.append(rows.tokens)
            assert self.gate.wait(10)
            if self.wrong in rows.tokens:
                raise ValueError(f"token {self.wrong} is wrong")
            assert all(
                caches[slot] == token for slot, token in zip(rows.slots, rows.tokens, strict=True)
            )
            return torch.tensor([[float(rows.tokens[row])] for row in reads])
        finally:
            self.inside -= 1


class Callers:
    """Threads that each wait for one pass of a few rows with one token."""

    def __init__(self, backend: Backend) -> None:
        self.turns = Turns(backend)  # type: ignore[arg-type]
        self.answers: dict[int, Any] = {}
        self.threads: list[threading.Thread] = []

    def ask(self, token: int, rows: int = 1, cancel: Any = None, **options: Any) -> None:
        job = Pass(Rows.sequence([token] * rows, 0), [token], [rows - 1], **options)

        def work() -> None:
            try:
                logits = self.turns.run(job, cancel)
                self.answers[token] = None if logits is None else logits.tolist()
            except (ValueError, KeyboardInterrupt) as err:
                self.answers[token] = str(err)

        waiting = self.turns.waiting()
        self.threads.append(threading.Thread(target=work))
        self.threads[-1].start()
        if len(self.threads) > 1:
            wait_until(lambda: self.turns.waiting() == waiting + 1)

    def finish(self) -> None:
        for thread in self.threads:
            thread.join(10)
        assert self.turns.waiting() == 0


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.001)


def started(backend: Backend, token: int = 1, **options: Any) -> Callers:
    """Callers whose first pass is being run, so that all others wait in line."""
    callers = Callers(backend)
    callers.ask(token, **options)
    wait_until(lambda: backend.passes == [[token] * options.get("rows", 1)])
    return callers


def test_callers_come_in_the_order_of_asking():
    backend = Backend(invariant=False)
    callers = started(backend)
    for token in range(2, 8):
        callers.ask(token)
    backend.gate.set()
    callers.finish()
    assert backend.passes == [[token] for token in range(1, 8)]
    assert callers.answers == {token: [[token]] for token in range(1, 8)}


def test_small_passes_are_run_together_and_each_gets_its_own_answer():
    backend = Backend()
    callers = started(backend)
    for token, rows in ((2, 2), (3, 1), (4, 1)):
        callers.ask(token, rows)
    backend.gate.set()
    callers.finish()
    assert backend.passes == [[1], [2, 2, 3, 4]]
    assert callers.answers == {token: [[token]] for token in range(1, 5)}


def test_what_does_not_fit_waits_for_the_next_pass():
    backend = Backend()
    callers = started(backend)
    for token, rows in ((2, 5), (3, 4), (4, 3)):
        callers.ask(token, rows)
    backend.gate.set()
    callers.finish()
    assert backend.passes[1:] == [[2] * 5 + [4] * 3, [3] * 4]


def test_only_passes_of_one_adapter_go_together_and_some_never_do():
    backend = Backend()
    callers = started(backend)
    one = SimpleNamespace(key="one")
    callers.ask(2, adapter=one)
    callers.ask(3)
    callers.ask(4, adapter=SimpleNamespace(key="one"))
    callers.ask(5, alone=True)
    callers.ask(6)
    backend.gate.set()
    callers.finish()
    assert backend.passes[1:] == [[2, 4], [3, 6], [5]]


def test_a_wrong_pass_fails_alone():
    backend = Backend()
    backend.wrong = 3
    callers = started(backend)
    for token in (2, 3, 4):
        callers.ask(token)
    backend.gate.set()
    callers.finish()
    assert callers.answers == {1: [[1]], 2: [[2]], 3: "token 3 is wrong", 4: [[4]]}


def test_a_cancelled_caller_leaves_the_line_at_once():
    backend = Backend()
    callers = started(backend)
    cancel = threading.Event()
    callers.ask(2, cancel=cancel)
    callers.ask(3)
    cancel.set()
    wait_until(lambda: 2 in callers.answers)
    assert callers.answers == {2: None} and callers.turns.waiting() == 1
    backend.gate.set()
    callers.finish()
    assert backend.passes == [[1], [3]]


def test_a_caller_who_was_cancelled_before_never_runs():
    backend = Backend()
    cancel = threading.Event()
    cancel.set()
    turns = Turns(backend)  # type: ignore[arg-type]
    assert turns.run(Pass(Rows.sequence([1], 0), [1], [0]), cancel) is None
    backend.gate.set()
    assert turns.run(Pass(Rows.sequence([1], 0), [1], [0])) is not None


def test_an_interrupt_while_leading_frees_the_line():
    backend = Backend()

    def interrupt() -> int:
        raise KeyboardInterrupt

    turns = Turns(backend)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        turns.run(Pass(Rows.sequence([1], 0), [1], [0], threads=interrupt))
    backend.gate.set()
    logits = turns.run(Pass(Rows.sequence([2], 0), [2], [0]))
    assert logits is not None and logits.tolist() == [[2]]


def test_an_interrupt_of_who_leads_leaves_those_behind_their_passes():
    def interrupt() -> int:
        raise KeyboardInterrupt("stopped")

    backend = Backend()
    callers = started(backend)
    callers.ask(2, threads=interrupt)
    callers.ask(3)
    callers.ask(4)
    backend.gate.set()
    callers.finish()
    assert callers.answers == {1: [[1]], 2: "stopped", 3: [[3]], 4: [[4]]}
    assert backend.passes == [[1], [3, 4]]


def test_many_callers_with_many_passes_all_get_their_answers():
    backend = Backend()
    backend.gate.set()
    turns = Turns(backend)  # type: ignore[arg-type]
    wrong: list[Any] = []

    def work(number: int) -> None:
        for turn in range(100):
            token = 100 * number + turn
            rows = 1 + turn % 3
            job = Pass(Rows.sequence([token] * rows, 0), [token], [rows - 1])
            logits = turns.run(job, threading.Event() if turn % 2 else None)
            if logits is None or logits.tolist() != [[token]]:
                wrong.append(token)

    in_threads(work)
    assert wrong == [] and turns.waiting() == 0
    assert sum(len(rows) for rows in backend.passes) == 8 * sum(1 + t % 3 for t in range(100))
