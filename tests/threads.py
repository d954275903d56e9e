"""Running something in several threads at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

Result = TypeVar("Result")


def in_threads(work: Callable[[int], Result], count: int = 8) -> list[Result]:
    """What work(0) to work(count - 1) return, each in a thread of its own; raises their errors.

    All threads are there before the first one begins.
    """
    gate = Barrier(count)

    def begin(number: int) -> Result:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))
