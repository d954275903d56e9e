"""Tool calls on the single-turn rows of the Berkeley Function Calling Leaderboard.

    python -m benchmarks.bfcl bfcl_single_turn.jsonl.gz --results bfcl.jsonl --json bfcl.json

Compares a free reply, plain constrained decoding, that with copying, and our whole way of
calling tools, on the same weights, greedily. Every finished row is appended to --results, and
one that is there already is not run again, so a stopped run goes on where it was. --categories
and --limit N (rows a category, drawn by --seed) take less. Progress goes to stderr, tables as
Markdown to stdout. The rows are for evaluation: nothing may be trained or tuned on them.

Exit code 1 where our calls are not all valid and finished, are no better than plain constrained
ones (paired sign test, p < 0.05), or name the right tool in fewer than 90 % of `multiple`.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bfcl_report import failures, summary, tables
from benchmarks.bfcl_rows import CATEGORIES, Row, read_rows
from llm_core.catalogue import CHAT
from llm_core.errors import ModelError

SYSTEMS = ("free", "constrained", "copy", "ours")


@dataclass(frozen=True)
class Job:
    """One system on one row."""

    system: str
    row: Row

    @property
    def key(self) -> tuple[str, str]:
        """What the job is known by in a file of results."""
        return self.system, self.row.id


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit code."""
    given = _arguments(argv)
    try:
        rows = chosen(read_rows(given.file), given.categories, given.limit, given.seed)
        broken = [row.id for row in rows if not row.right(row.example())]
        if broken:
            print(f"own truth does not pass in {len(broken)} rows: {broken}", file=sys.stderr)
        done = read_results(given.results) if given.results else []
        kept = {row.id for row in rows}
        done = [one for one in done if one["id"] in kept and one["system"] in given.systems]
        for result in _run(jobs(rows, given.systems, done), given):
            done.append(result)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report = summary(done)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print("\n".join(tables(report)))
    missed = failures(report)
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return int(bool(missed))


def chosen(
    rows: Sequence[Row], categories: Sequence[str], limit: int | None, seed: int
) -> list[Row]:
    """The rows of the categories, at most `limit` of each, drawn by the seed.

    A smaller limit draws a part of what a larger one draws.
    """
    found = []
    for category in categories:
        members = sorted((row for row in rows if row.category == category), key=lambda row: row.id)
        random.Random(f"{seed} {category}").shuffle(members)
        found += members[:limit]
    return found


def jobs(
    rows: Iterable[Row], systems: Sequence[str], done: Iterable[dict[str, Any]]
) -> Iterator[Job]:
    """What is to be run: systems that always call skip rows that want no call."""
    known = {(one["system"], one["id"]) for one in done}
    for row in rows:
        for system in systems:
            job = Job(system, row)
            if job.key not in known and (row.wants_call or system not in ("constrained", "copy")):
                yield job


def read_results(path: Path) -> list[dict[str, Any]]:
    """The finished rows of a file, an unfinished last line left out; none where there is none."""
    found = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def _run(work: Iterator[Job], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    waiting = list(work)
    if not waiting:
        return
    from benchmarks.bfcl_systems import SYSTEMS as RUN
    from benchmarks.bfcl_systems import Bench, attempt

    bench = Bench.open(given.model, given.adapter, given.threads, given.max_tokens)
    began = time.perf_counter()
    for number, job in enumerate(waiting, start=1):
        start = time.process_time()
        outcome = attempt(RUN[job.system], bench, job.row)
        calls = outcome.calls if outcome.free is None or job.row.wants_call else []
        result = {
            "system": job.system,
            "id": job.row.id,
            "category": job.row.category,
            "right": job.row.right(calls)
            if job.row.wants_call or outcome.free is None
            else not outcome.free,
            "right_tools": job.row.right_tools(calls),
            "cpu_seconds": round(time.process_time() - start, 3),
            **asdict(outcome),
        }
        if given.results:
            with given.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result, ensure_ascii=False) + "\n")
        if number % 20 == 0 or number == len(waiting):
            rate = (time.perf_counter() - began) / number
            print(f"{number} of {len(waiting)}, {rate:.2f} s each", file=sys.stderr, flush=True)
        yield result


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bfcl",
        description="Tool calls on the Berkeley Function Calling Leaderboard's single turns.",
    )
    parser.add_argument("file", type=Path, help="the rows, as JSONL, gzipped or not")
    parser.add_argument("--systems", type=_list_of(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--categories", type=_list_of(CATEGORIES), default=list(CATEGORIES))
    parser.add_argument("--limit", type=int, help="rows of each category; all without it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=CHAT)
    parser.add_argument("--adapter", help="the folder of an adapter to write the calls with")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--max-tokens", type=int, default=256, help="the most tokens of a call")
    parser.add_argument("--results", type=Path, metavar="FILE", help="finished rows, as JSONL")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    return parser.parse_args(argv)


def _list_of(known: Sequence[str]) -> Any:
    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    sys.exit(main())
