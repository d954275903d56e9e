"""Budgets of a run, and the count of model calls a step made."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """What a run may spend; None is no limit.

    `seconds` is time inside steps, so that a run resumed next week still has its budget.
    `steps` is LangGraph's recursion limit.
    """

    rounds: int = 2
    seconds: float | None = None
    model_calls: int | None = None
    steps: int = 60

    def spent(self, seconds: float, model_calls: int) -> str | None:
        """Name the budget that is used up, if one is."""
        if self.seconds is not None and seconds >= self.seconds:
            return f"the time budget of {self.seconds:g} s is used up"
        if self.model_calls is not None and model_calls >= self.model_calls:
            return f"the budget of {self.model_calls} model calls is used up"
        return None


@dataclass
class Tally:
    """Model calls of one step."""

    calls: int = 0


@dataclass(frozen=True)
class CallMeter:
    """Counts model calls for the step that makes them, also when steps run side by side."""

    current: ContextVar[Tally | None] = field(
        default_factory=lambda: ContextVar("deerstalker_step_tally", default=None)
    )

    @contextmanager
    def step(self) -> Iterator[Tally]:
        """Count the calls made inside the block, in this thread."""
        tally = Tally()
        token = self.current.set(tally)
        try:
            yield tally
        finally:
            self.current.reset(token)

    def add(self) -> None:
        """Note one model call."""
        tally = self.current.get()
        if tally is not None:
            tally.calls += 1
