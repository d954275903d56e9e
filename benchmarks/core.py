"""The model core against llama.cpp, transformers and sentence-transformers, and its goals.

    python -m benchmarks.core --python RIVALS/bin/python --json core.json

RIVALS is an environment with the packages of the `bench` extra; without --python they are looked
for in this one. The default chat model is measured on the same file that llama.cpp reads, and on
copies of it in llama.cpp's fastest types; transformers gets the same weights as bfloat16. Progress
goes to stderr, tables as Markdown to stdout. Takes about half an hour on two cores;
other programs should rest meanwhile.

Exit code 1 where a figure misses what it must reach.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_core.bench.measure import Spread, ratio
from llm_core.bench.plan import EAGER, PARTS, TRANSFORMERS, Bench, Plan
from llm_core.bench.report import OURS, lines, show, table
from llm_core.bench.text import read_text
from llm_core.catalogue import CHAT
from llm_core.errors import ModelError
from llm_core.loading import resolve
from llm_core.threads import core_count

TEXT = Path(__file__).resolve().parents[1] / "samples" / "the-adventures-of-sherlock-holmes.txt"
STORED, FASTEST = "llama.cpp Q4_1", "llama.cpp Q4_0"
_SHORT = 128  # tokens of prompt that the goals of speed are set for
_MEGA = 1e6


@dataclass(frozen=True)
class Goal:
    """One line of the table: a measured spread, and the values it must and should reach."""

    what: str
    found: Spread
    must: float
    aim: float
    unit: str = "x"
    below: bool = False  # whether smaller is better
    digits: int = 2

    @property
    def verdict(self) -> str:
        """What the median reaches."""
        value = -self.found.median if self.below else self.found.median
        must, aim = (-self.must, -self.aim) if self.below else (self.must, self.aim)
        return "aim" if value >= aim else "must" if value >= must else "missed"


def goals(report: Mapping[str, Any]) -> Iterator[Goal]:
    """The goals that `report` holds the measurements for."""
    for length, series in report.get("speed", {}).items():
        yield from _speed_goals(int(length), series)
    if "prefix" in report:
        part = report["prefix"]
        times = ratio(part["cold"][OURS], part["warm"][OURS])
        yield Goal(f"first token, {part['shared']} shared tokens: warm against cold", times, 8, 10)
    if "adapter" in report:
        part = report["adapter"]
        yield Goal(
            "decode, rank-16 adapter against bare", ratio(part["adapter"], part["bare"]), 0.85, 0.95
        )
    if "queue" in report:
        part = report["queue"]
        times = ratio(part["in_turn"], part["at_once"])
        # No slower, with room for noise.
        yield Goal(f"{part['requests']} requests at once against in turn", times, 0.97, 1)
    if "fresh" in report:
        yield from _fresh_goals(report["fresh"])
    if "embeddings" in report:
        yield from _embedding_goals(report["embeddings"])
    if OURS in report.get("divergence", {}):
        value = report["divergence"][OURS]
        yield Goal("mean KL to float32", Spread(value, value, value), 0.004, 0.004, "", True, 4)


def _speed_goals(length: int, series: Mapping[str, Any]) -> Iterator[Goal]:
    """The goals are for short prompts; after longer ones ours should be ahead."""
    wanted = (
        ("decode", OURS, STORED, 2.0, 3.0),
        ("decode", OURS, FASTEST, 1.3, 2.0),
        ("decode", OURS, TRANSFORMERS, 8.0, 13.0),
        ("decode", EAGER, TRANSFORMERS, 1.2, 1.5),
        ("prefill", OURS, TRANSFORMERS, 0.9, 1.3),
        ("prefill", OURS, FASTEST, 1.1, 1.5),
    )
    for what, ours, theirs, must, aim in wanted:
        if ours in series[what] and theirs in series[what]:
            times = ratio(series[what][ours], series[what][theirs])
            line = f"{what}, {length} tokens: {ours} against {theirs}"
            yield Goal(line, times, *((must, aim) if length <= _SHORT else (0.0, 1.0)))


def _fresh_goals(part: Mapping[str, Any]) -> Iterator[Goal]:
    ready = Spread.of(part["ready"][OURS])
    yield Goal("process start to ready", ready, 2.5, 2.0, " s", below=True)
    memory = Spread.of([value / _MEGA for value in part["memory"][OURS]])
    yield Goal("peak memory of the process", memory, 800, 650, " MB", below=True, digits=0)


def _embedding_goals(part: Mapping[str, Any]) -> Iterator[Goal]:
    rate = part["rate"]
    for dtype, must, aim in (("float32", 2.5, 3.3), ("bfloat16", 1.4, 1.8)):
        theirs = f"sentence-transformers {dtype}"
        if theirs in rate:
            times = ratio(rate[OURS], rate[theirs])
            yield Goal(f"embeddings: {OURS} against {theirs}", times, must, aim)
    value = part["cosine"][OURS]
    yield Goal("embeddings: lowest cosine", Spread(value, value, value), 0.999, 0.999, "", digits=5)


def goal_lines(found: Sequence[Goal]) -> Iterator[str]:
    """The table of goals."""
    rows = [
        [
            goal.what,
            show(goal.found, goal.digits) + goal.unit,
            f"{'at most ' if goal.below else ''}{goal.must:g}{goal.unit}",
            f"{goal.aim:g}{goal.unit}",
            goal.verdict,
        ]
        for goal in found
    ]
    yield from table(["what", "found", "must", "aim", "reached"], rows)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.core", description="Measure the model core against its rivals."
    )
    parser.add_argument("--model", default=CHAT)
    parser.add_argument("--python", default=sys.executable, help="Python that has the rivals")
    parser.add_argument("--threads", type=int, default=core_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--prompt", type=int, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--text", type=Path, default=TEXT, help="UTF-8 text to read")
    parser.add_argument("--paragraphs", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = _arguments(argv)
    try:
        plan = Plan(
            folder=resolve(given.model),
            python=given.python,
            threads=given.threads,
            text=read_text(given.text),
            parts=given.only,
            rounds=given.rounds,
            lengths=given.prompt,
            generate=given.generate,
            paragraphs=given.paragraphs,
        )
        report = Bench(plan, lambda line: print(line, file=sys.stderr, flush=True)).run()
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    found = list(goals(report))
    print("\n".join([*lines(report), "", *goal_lines(found)]))
    return int(any(goal.verdict == "missed" for goal in found))


if __name__ == "__main__":
    sys.exit(main())
