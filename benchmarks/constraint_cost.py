"""What constraints cost inside a call: the share of its processor time that is theirs.

    python -m benchmarks.constraint_cost --rounds 9 --json cost.json

Calls of the chat model on one thread, in turn: an object of six fields from a short request, and
a call of one of three tools. Every step of the guide, its masks and the copy bias is timed.
"new schema" compiles the grammar in the call; else it was seen before, as an agent's tools are.
Medians of processor time, without what reading the clock takes (0.2 to 4 us a time). Exit code 1
where the grammar takes more than 3 % of a greedy tool call.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any

from llm_core import LocalChatModel
from llm_core.bench.report import table
from llm_core.copying import CopyBias
from llm_core.errors import ModelError
from llm_core.grammars import Grammars
from llm_core.guides import GrammarGuide
from llm_core.masks import Mask

LIMIT = 0.03  # of a greedy tool call
TEXT = (
    "Ann Smith is 42 years old and lives in Bangkok with two dogs; she likes tea, running and "
    "old books about trains. Write it as JSON with name, age, city, tags, summary, kind."
)
ASKED = "Book a table for 4 people at Luigi's in Milan on 12 May."
PARTS = {
    "grammar": (
        (Grammars, ("of_json",)),
        (GrammarGuide, ("mask", "accept", "forced", "done")),
        (Mask, ("allows", "array")),
    ),
    "copying": ((CopyBias, ("__init__", "gains", "accept")),),
}


def schema(number: int) -> dict[str, Any]:
    """A schema of strings, numbers, a list and closed values; another one for each number."""
    properties = {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150 + number},
        "city": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
        "summary": {"type": "string"},
        "kind": {"enum": ["person", "place", "thing"]},
    }
    return {
        "title": "Record",
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def book_table(restaurant: str, city: str, people: int, day: str) -> str:
    """Book a table in a restaurant for some people on a day."""
    return f"{restaurant}, {city}, {people}, {day}"


def weather(city: str) -> str:
    """Get the weather in a city."""
    return city


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def clock_cost() -> float:
    """Processor seconds that one reading of the thread's clock takes."""
    readings = [time.thread_time() for _ in range(201)]
    return statistics.median(after - before for before, after in pairwise(readings))


@dataclass
class Watch:
    """Processor seconds by part; what a part does inside itself counts once.

    `clock` is what one reading of the clock takes, and is not counted.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    inside: bool = False
    clock: float = 0.0
    steps: int = 0


@contextmanager
def timed(watch: Watch) -> Iterator[None]:
    """Have every step of the constraints counted by `watch`."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in _steps()]
    for owner, name, part in _steps():
        setattr(owner, name, _counted(getattr(owner, name), part, watch))
    try:
        yield
    finally:
        for owner, name, was in before:
            setattr(owner, name, was)


def _steps() -> Iterator[tuple[type, str, str]]:
    for part, owners in PARTS.items():
        for owner, names in owners:
            for name in names:
                yield owner, name, part


def _counted(step: Callable[..., Any], part: str, watch: Watch) -> Callable[..., Any]:
    @wraps(step)
    def counted(*arguments: Any, **named: Any) -> Any:
        if watch.inside:
            return step(*arguments, **named)
        watch.inside = True
        began = time.thread_time()
        try:
            return step(*arguments, **named)
        finally:
            watch.seconds[part] += time.thread_time() - began - watch.clock
            watch.steps += 1
            watch.inside = False

    return counted


def run(model: LocalChatModel, rounds: int) -> dict[str, dict[str, float]]:
    """Medians over rounds of every kind of call, taken in turn."""
    tools = model.bind_tools([book_table, weather, add], tool_choice="any")

    def object_of(number: int, **given: Any) -> Callable[[], Any]:
        return lambda: model.with_structured_output(schema(number)).invoke(TEXT, **given)

    def drawn(seed: int) -> Callable[[], Any]:
        return lambda: tools.invoke(ASKED, temperature=0.8, seed=seed)

    found: dict[str, list[dict[str, float]]] = {}
    for number in range(rounds + 1):
        calls = {
            "object, greedy": object_of(0),
            "object, greedy, new schema": object_of(number + 1),
            "object, temperature 0.8": object_of(0, temperature=0.8, seed=number),
            "tool call, greedy": lambda: tools.invoke(ASKED),
            "tool call, temperature 0.8": drawn(number),
        }
        for name, call in calls.items():
            result = _measured(call)
            if number:  # the first round warms everything up
                found.setdefault(name, []).append(result)
    return {
        name: {key: statistics.median(one[key] for one in results) for key in results[0]}
        for name, results in found.items()
    }


def _measured(call: Callable[[], Any]) -> dict[str, float]:
    watch = Watch(clock=clock_cost())
    with timed(watch):
        began = time.process_time()
        call()
        total = time.process_time() - began - 2 * watch.steps * watch.clock
    return {"total": total, **{part: spent / total for part, spent in watch.seconds.items()}}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.constraint_cost",
        description="The share of a call's processor time that its constraints take.",
    )
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    given = parser.parse_args(argv)
    try:
        found = run(LocalChatModel(model=given.model, threads=1, max_tokens=200), given.rounds)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    rows = [
        [name, f"{one['total'] * 1e3:.0f}", f"{one['grammar']:.1%}", f"{one['copying']:.1%}"]
        for name, one in found.items()
    ]
    print("\n".join(table(["call", "ms", "grammar", "copy bias"], rows)))
    return int(found["tool call, greedy"]["grammar"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
