"""How many calls a request gets, and of which tools, on labelled conversations.

    python -m benchmarks.tool_counts DATA --half 1 --choice any

DATA is a file or folder that `fit-tools` reads. The turns in which a person speaks last and a
call is right are drawn by --seed, at most --limit of one call and of several for each file,
without those that write a whole dialogue into one turn; besides, pairs of requests of one call
are joined to one request ("... Also, ...") with the tools of both. Half of each group is for
choosing rules (0) and half for reporting (1). Each gets its reply's calls, greedily: --choice
any makes it call, auto lets it answer. Prints, for requests of one call and of several, the
shares with the right number of calls and with the right tools, each as often as it should be.
Progress goes to stderr, a Markdown table to stdout.
"""

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bfcl_systems import Bench
from llm_core.catalogue import CHAT
from llm_core.errors import ModelError
from llm_core.parts import CallPart, Usage
from llm_core.tool_examples import Example, read_examples

JOINED = " Also, "
_MOST_TOKENS = 256  # of one call
_DIALOGUE = re.compile(r"historical dialog data", re.IGNORECASE)


@dataclass(frozen=True)
class Count:
    """What one request should get and did: names of tools in the order of the calls."""

    source: str
    wanted: tuple[str, ...]
    made: tuple[str, ...]

    @property
    def group(self) -> tuple[str, str]:
        """The row of the table that it counts for."""
        return self.source, "several" if len(self.wanted) > 1 else "one"


def drawn(examples: Sequence[Example], limit: int, seed: int, half: int) -> list[Example]:
    """The requests of one half: of each file `limit` of one call and of several, and joins."""
    found = []
    for source in sorted({one.source for one in examples}):
        mine = [one for one in examples if one.source == source and _usable(one)]
        random.Random(f"{seed} {source}").shuffle(mine)
        alone = [one for one in mine if len(one.calls) == 1][half::2][:limit]
        found += alone + [one for one in mine if len(one.calls) > 1][half::2][:limit]
        short = [one for one in alone if len(one.turns) == 1]
        found += [joined(*pair) for pair in zip(short[::2], short[1::2], strict=False)]
    return found


def joined(first: Example, second: Example) -> Example:
    """Both requests in one, with the tools of both."""
    begun = first.turns[-1].text.rstrip()
    text = begun + ("" if begun.endswith((".", "?", "!")) else ".") + JOINED
    turn = replace(first.turns[-1], text=text + second.turns[-1].text)
    tools = tuple({tool.name: tool for tool in (*first.tools, *second.tools)}.values())
    return Example(f"{first.source}, joined", (turn,), tools, (*first.calls, *second.calls))


def _usable(example: Example) -> bool:
    names = {tool.name for tool in example.tools}
    if not example.turns or not example.calls or not {name for name, _ in example.calls} <= names:
        return False
    last = example.turns[-1]
    return last.role == "user" and not last.from_tool and not _DIALOGUE.search(last.text)


def count(bench: Bench, example: Example, choice: str) -> Count:
    """The calls of the reply to an example; a refusal, such as too long a prompt, is none."""
    tools = {  # by name: some rows offer the same tool twice
        tool.name: {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        }
        for tool in example.tools
    }
    options = bench.options(tools=list(tools.values()), tool_choice=choice)
    made: list[str] = []
    try:
        for part in bench.caller.calls(example.turns, options, Usage()):
            if isinstance(part, CallPart):
                made.append(part.name)
    except ModelError as error:
        print(f"{example.turns[-1].text[:60]!r}: {error}", file=sys.stderr)
    return Count(example.source, tuple(name for name, _ in example.calls), tuple(made))


def table(counts: Sequence[Count]) -> Iterator[str]:
    """The Markdown lines of the shares by group."""
    yield "| requests | calls wanted | n | number right | tools right | too many | too few |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for source, kind in sorted({one.group for one in counts}):
        mine = [one for one in counts if one.group == (source, kind)]
        shares = (
            sum(len(one.made) == len(one.wanted) for one in mine),
            sum(Counter(one.made) == Counter(one.wanted) for one in mine),
            sum(len(one.made) > len(one.wanted) for one in mine),
            sum(len(one.made) < len(one.wanted) for one in mine),
        )
        cells = " | ".join(f"{share / len(mine):.3f}" for share in shares)
        yield f"| {source} | {kind} | {len(mine)} | {cells} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit code."""
    given = _arguments(argv)
    try:
        rows = drawn(list(read_examples(given.data)), given.limit, given.seed, given.half)
        bench = Bench.open(given.model, None, given.threads, _MOST_TOKENS)
        counts = []
        for number, row in enumerate(rows, start=1):
            counts.append(count(bench, row, given.choice))
            if given.verbose and len(counts[-1].made) != len(counts[-1].wanted):
                print(counts[-1], row.turns[-1].text, file=sys.stderr)
            if number % 20 == 0 or number == len(rows):
                print(f"{number} of {len(rows)} requests", file=sys.stderr, flush=True)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(counts)))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.tool_counts", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--half", type=int, choices=(0, 1), default=0)
    parser.add_argument("--choice", choices=("auto", "any"), default="any")
    parser.add_argument("--limit", type=int, default=60, help="requests of a kind for each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=CHAT)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--verbose", action="store_true", help="show the requests that fail")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
