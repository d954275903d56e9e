"""The argument values of tool calls, on labelled turns that want exactly one call.

    python -m benchmarks.tool_values FOLDER --seed 0 --limit 100 --systems constrained,ours

FOLDER holds labelled tool use in the layouts of `llm_core.tool_examples`. The right tool is
given, so that nothing but its arguments is judged: plain constrained decoding of them, beside
our cues and copying, greedily, on the same prompt. A call is right where the check of the BFCL
benchmark accepts its arguments; an optional argument may be left out where its value is the
default. Rows fall by a hash into two halves: values are tuned on "choose" and told of "report".
Progress goes to stderr, a table as Markdown to stdout.
"""

import argparse
import hashlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bfcl_report import paired, share
from benchmarks.bfcl_rows import call_matches
from benchmarks.bfcl_systems import Bench
from llm_core.bench.report import table
from llm_core.catalogue import CHAT
from llm_core.constrain import json_guide
from llm_core.errors import ModelError
from llm_core.parts import ArgumentsPart, Usage
from llm_core.tool_examples import Example, read_examples
from llm_core.tool_prompts import call_prompt
from llm_core.toolcalls import ToolSpec

HALVES = ("choose", "report", "both")
_MOST_TURNS = 2  # of a conversation: single requests, perhaps under a system's words


@dataclass(frozen=True)
class Case:
    """A conversation, the tool that it calls, and with what."""

    id: str
    source: str
    half: str
    example: Example
    tool: ToolSpec
    wanted: dict[str, Any]

    def right(self, arguments: dict[str, Any]) -> bool:
        """Whether the arguments are those that are wanted, or defaults."""
        accepted = {name: [value] for name, value in self.wanted.items()}
        for name, part in self.tool.parameters.get("properties", {}).items():
            if isinstance(part, dict) and "default" in part:
                usual = part["default"]
                if name not in accepted:
                    accepted[name] = [usual, ""]
                elif accepted[name] == [usual]:
                    accepted[name].append("")
        return call_matches(arguments, self.tool.parameters, accepted)


def cases_of(examples: Sequence[Example], limit: int, seed: int, half: str) -> list[Case]:
    """At most `limit` turns of each file that want one call of a tool on offer, by the seed."""
    found: list[Case] = []
    for source in sorted({one.source for one in examples}):
        mine = [case for number, one in enumerate(examples) if (case := _case(one, number, source))]
        mine = [case for case in mine if half in (case.half, "both")]
        random.Random(f"{seed} {source}").shuffle(mine)
        found += mine[:limit]
    return found


def _case(example: Example, number: int, source: str) -> Case | None:
    last = example.turns[-1] if example.turns else None
    if example.source != source or last is None or last.role != "user" or last.from_tool:
        return None
    if len(example.turns) > _MOST_TURNS or len(example.calls) != 1:
        return None
    name, wanted = example.calls[0]
    tool = next((tool for tool in example.tools if tool.name == name), None)
    if tool is None or not wanted or not wanted.keys() <= tool.parameters["properties"].keys():
        return None
    half = HALVES[hashlib.sha256(last.text.encode()).digest()[0] % 2]
    return Case(f"{source} {number}", source, half, example, tool, wanted)


def constrained(bench: Bench, case: Case) -> str:
    """The arguments under the grammar of all of the tool's parameters, and no more help."""
    options, tokenizer = bench.options(), bench.engine.tokenizer
    guide = json_guide(case.tool.parameters, tokenizer, options.max_tokens, lead=" ")
    prompt = call_prompt(bench.template, tokenizer, case.example.turns, case.tool)
    parts = bench.writer.write(prompt, options, Usage(), guide)
    return "".join(part.text for part in parts)


def ours(bench: Bench, case: Case) -> str:
    """The arguments as `LocalChatModel` writes them for a named tool."""
    tool = case.tool
    shown = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    options = bench.options(
        tools=[{"type": "function", "function": shown}],
        tool_choice=tool.name,
        parallel_tool_calls=False,
    )
    parts = bench.caller.calls(case.example.turns, options, Usage())
    return "".join(part.text for part in parts if isinstance(part, ArgumentsPart))


SYSTEMS: dict[str, Callable[[Bench, Case], str]] = {"constrained": constrained, "ours": ours}


def run(bench: Bench, cases: Sequence[Case], systems: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What each system writes for each case; what it refuses counts as wrong."""
    began = time.perf_counter()
    for number, case in enumerate(cases, start=1):
        for system in systems:
            start = time.process_time()
            try:
                given = json.loads(SYSTEMS[system](bench, case))
            except ModelError as error:
                print(f"{case.id}: {error}", file=sys.stderr)
                given = {}
            yield {
                "system": system,
                "id": case.id,
                "source": case.source,
                "right": case.right(given),
                "given": given,
                "wanted": case.wanted,
                "cpu_seconds": round(time.process_time() - start, 3),
            }
        if number % 20 == 0 or number == len(cases):
            rate = (time.perf_counter() - began) / number
            print(f"{number} of {len(cases)}, {rate:.2f} s each", file=sys.stderr, flush=True)


def report(results: Sequence[dict[str, Any]], systems: Sequence[str]) -> Iterator[str]:
    """A table of right calls by file and system, and the paired test of the first two systems."""
    rows = []
    for source in [*sorted({one["source"] for one in results}), "all"]:
        for system in systems:
            mine = [
                one
                for one in results
                if one["system"] == system and source in (one["source"], "all")
            ]
            part = share(sum(one["right"] for one in mine), len(mine))
            spent = sum(one["cpu_seconds"] for one in mine) / len(mine)
            interval = f"{part['share']:.1%} ({part['low']:.0%} to {part['high']:.0%})"
            rows.append([source, system, str(len(mine)), interval, f"{spent:.2f}"])
    yield from table(["file", "system", "rows", "right arguments", "CPU s"], rows)
    for system in systems[1:]:
        test = paired(results, system, systems[0])
        yield ""
        yield (
            f"{system} against {systems[0]}: {test['gained']} gained, {test['lost']} lost, "
            f"p = {test['p']:.2g}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit code."""
    given = _arguments(argv)
    try:
        cases = cases_of(read_examples(given.folder), given.limit, given.seed, given.half)
        if not cases:
            raise ModelError(f"{given.folder} holds no single request that wants one call")
        bench = Bench.open(given.model, None, given.threads)
        results = list(run(bench, cases, given.systems))
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.results:
        lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in results]
        given.results.write_text("".join(lines), encoding="utf-8")
    print("\n".join(report(results, given.systems)))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tool_values",
        description="The argument values of tool calls on labelled turns, the right tool given.",
    )
    parser.add_argument("folder", type=Path, help="labelled tool use, or one file of it")
    parser.add_argument("--systems", type=_systems, default=list(SYSTEMS))
    parser.add_argument("--half", choices=HALVES, default="report")
    parser.add_argument("--limit", type=int, default=100, help="turns of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=CHAT)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, metavar="FILE", help="every row, as JSONL")
    return parser.parse_args(argv)


def _systems(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - SYSTEMS.keys():
        raise argparse.ArgumentTypeError(f"none of {', '.join(SYSTEMS)}: {', '.join(unknown)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
