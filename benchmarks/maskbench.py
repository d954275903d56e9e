"""MaskBench: which schemas the constraints follow, and what they let through.

    python -m benchmarks.maskbench MASKBENCH --json maskbench.json

MASKBENCH is MaskBench's file (guidance-ai/jsonschemabench): one JSON object a line with a
schema and instances known to be valid or not, gzip or not. Two forms of each schema's grammar
are asked whether they can write each instance, keys in any order:

- open: all that the schema allows, as far as the grammar engine knows its keywords;
- closed: as replies are written, without keys that the schema does not name.

What is left is the validator's, which sees every reply. --limit N takes N schemas, drawn from
--seed. With --rows a run that was stopped goes on where it was, and parts can run side by side:

    python -m benchmarks.maskbench MASKBENCH --part 1/2 --rows one.jsonl
    python -m benchmarks.maskbench MASKBENCH --part 2/2 --rows two.jsonl
    cat one.jsonl two.jsonl > all.jsonl
    python -m benchmarks.maskbench MASKBENCH --rows all.jsonl

Progress goes to stderr, tables to stdout.

Exit code 1 where fewer than 98 % of the schemas compile, fewer than 99 % of the valid instances
can be written in the open form, or an invalid one passes grammar and validator.
"""

import argparse
import gzip
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rows import KeptRows
from benchmarks.spelling import Speller
from llm_core.bench.measure import machine
from llm_core.bench.report import table
from llm_core.catalogue import CHAT
from llm_core.checkpoint import open_checkpoint
from llm_core.errors import ModelError
from llm_core.grammars import FORMS, Grammar, Grammars, SchemaError
from llm_core.loading import resolve
from llm_core.tokenizer import TextTokenizer
from llm_core.validation import failing

LEAST_COMPILED, LEAST_WRITTEN = 0.98, 0.99


@dataclass(frozen=True)
class Case:
    """A schema, and instances with whether they are valid."""

    name: str
    schema: dict[str, Any]
    instances: tuple[tuple[Any, bool], ...]


@dataclass(frozen=True)
class Tried:
    """An instance: whether it is valid, which forms write it, and the keyword that it breaks."""

    valid: bool
    written: dict[str, bool]  # by form, "closed" and "open"
    breaks: str  # as the validator says; empty where it accepts the instance
    text: str = ""  # of one that the open form treats otherwise than the file does


@dataclass(frozen=True)
class Row:
    """What came of one schema: the form of its replies, or why it was refused."""

    name: str
    form: str | None
    refused: str
    seconds: float  # of the processor, to compile it and find a shortest reply
    tried: tuple[Tried, ...]
    untried: int = 0  # valid instances of a refused schema


@dataclass
class Score:
    """What was counted, over schemas and their instances."""

    forms: Counter[str] = field(default_factory=Counter)  # of the grammars of replies
    refusals: Counter[str] = field(default_factory=Counter)
    valid: int = 0
    untried: int = 0  # valid, of refused schemas, and counted nowhere else
    invalid: int = 0
    written: Counter[str] = field(default_factory=Counter)  # valid instances, by form
    passed: Counter[str] = field(default_factory=Counter)  # invalid ones, by form
    keywords: Counter[str] = field(default_factory=Counter)  # why those are invalid, open form
    passed_both: int = 0  # invalid ones that the validator accepts too
    valid_refused: int = 0  # by the validator
    seconds: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def compiled(self) -> float:
        """The part of the schemas that have a grammar."""
        schemas = self.forms.total() + self.refusals.total()
        return self.forms.total() / schemas if schemas else 0.0

    @property
    def good(self) -> bool:
        """Whether the goals are met."""
        written = self.written["open"] >= LEAST_WRITTEN * self.valid
        return self.compiled >= LEAST_COMPILED and written and not self.passed_both

    def add(self, row: Row) -> None:
        """Count one schema and its instances."""
        if row.form is None:
            self.refusals[row.refused] += 1
            self.untried += row.untried
            return
        self.seconds.append(row.seconds)
        self.forms[row.form] += 1
        for each in row.tried:
            self.valid += each.valid
            self.invalid += not each.valid
            self.valid_refused += each.valid and bool(each.breaks)
            count = self.written if each.valid else self.passed
            for form, can in each.written.items():
                count[form] += can
            if each.written["open"] and not each.valid:
                self.keywords[each.breaks or "none"] += 1
                self.passed_both += not each.breaks
            if each.valid and not each.written["open"]:
                self.missed.append(f"{row.name}: {each.text}")


class Bench:
    """Tries cases, one grammar at a time."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._grammars = Grammars(tokenizer)
        self._speller = Speller(lambda text: tokenizer.encode(text, marks=False))

    def row(self, case: Case) -> Row:
        """Compile one schema and try its instances."""
        began = time.thread_time()
        try:
            closed = self._grammars.of_json(case.schema)
        except SchemaError as error:
            valid = sum(good for _, good in case.instances)
            return Row(case.name, None, str(error), time.thread_time() - began, (), valid)
        seconds = time.thread_time() - began
        whole = closed
        with suppress(SchemaError):  # replies may be closed where open ones cannot be followed
            whole = self._grammars.of_json(case.schema, forms=FORMS[2:])
        tried = tuple(self._try(case, *test, closed, whole) for test in case.instances)
        return Row(case.name, closed.form, "", seconds, tried)

    def _try(self, case: Case, value: Any, valid: bool, closed: Grammar, whole: Grammar) -> Tried:
        error = failing(value, case.schema)
        can = {
            "closed": self._speller.can_write(closed.matcher(), value),
            "open": self._speller.can_write(whole.matcher(), value),
        }
        seen = json.dumps(value)[:300] if valid != can["open"] else ""
        return Tried(valid, can, str(error.validator) if error else "", seen)


def run(bench: Bench, cases: Sequence[Case], kept: KeptRows) -> Score:
    """Try those cases that `kept` has no row of, keep theirs too, and count them all."""
    held = {row["name"] for row in kept.rows}
    left = [case for case in cases if case.name not in held]
    for number, case in enumerate(left, 1):
        kept.add(asdict(bench.row(case)))
        if number % 500 == 0 or number == len(left):
            print(f"{number} of {len(left)} schemas", file=sys.stderr, flush=True)
    asked = {case.name for case in cases}
    score = Score()
    for row in kept.rows:
        if row["name"] in asked:
            score.add(Row(**{**row, "tried": tuple(Tried(**each) for each in row["tried"])}))
    return score


def read_cases(path: Path, limit: int | None = None, seed: int = 0) -> list[Case]:
    """The cases of MaskBench's file, all or so many drawn at random; raises ModelError."""
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        rows = [json.loads(line) for line in text.splitlines()]
        cases = [
            Case(
                row["id"],
                row["schema"],
                tuple((test["data"], bool(test["valid"])) for test in row["tests"]),
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read as MaskBench's file: {error!r}") from error
    return cases if limit is None else random.Random(seed).sample(cases, min(limit, len(cases)))


def part_of(part: str) -> tuple[int, int]:
    """Where the part "i/n" begins, and its step, as a slice has them; raises ModelError."""
    first, _, step = part.partition("/")
    if not (first.isdecimal() and step.isdecimal() and 1 <= int(first) <= int(step)):
        raise ModelError(f"--part {part}: give a part and how many, as 1/4 is")
    return int(first) - 1, int(step)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = _arguments(argv)
    try:
        first, step = part_of(given.part)
        cases = read_cases(given.maskbench, given.limit, given.seed)[first::step]
        folder = resolve(given.model)
        vocabulary = int(open_checkpoint(folder).config["vocab_size"])
        kept = KeptRows(given.rows, {"benchmark": "maskbench", "model": given.model})
        score = run(Bench(TextTokenizer(folder, vocabulary)), cases, kept)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _show(score, len(cases))
    if given.json:
        report = {"machine": machine(), "seed": given.seed, **vars(score)}
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return int(not score.good)


def _show(score: Score, schemas: int) -> None:
    ordered = sorted(score.seconds) or [0.0]
    spread = [1e3 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95, 1.0)]
    rows = [["schemas", str(schemas)], ["compiled", f"{score.compiled:.2%}"]]
    rows += [[f"- {form}", str(score.forms[form])] for form in FORMS]
    rows += [["ms to compile: median, 95th of 100, most", ", ".join(f"{ms:.1f}" for ms in spread)]]
    rows += [["valid instances of refused schemas", str(score.untried)]]
    rows += [["valid instances", str(score.valid)], ["invalid instances", str(score.invalid)]]
    for form in ("open", "closed"):
        rows += [[f"valid, written in the {form} form", _part(score.written[form], score.valid)]]
        rows += [[f"invalid, written in the {form} form", str(score.passed[form])]]
    rows += [["invalid, past the validator too", str(score.passed_both)]]
    rows += [["valid, refused by the validator", str(score.valid_refused)]]
    print("\n".join(table(["", ""], rows)))
    causes = [[name, str(count)] for name, count in score.keywords.most_common()]
    print("\n".join(["", *table(["keyword that the grammar let through", "instances"], causes)]))
    reasons = [[name[:110], str(count)] for name, count in score.refusals.most_common(12)]
    print("\n".join(["", *table(["schema refused", "schemas"], reasons)]))


def _part(some: int, whole: int) -> str:
    return f"{some} ({some / whole:.2%})" if whole else "0"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.maskbench",
        description="Which JSON schemas the constraints follow, and what they let through.",
    )
    parser.add_argument("maskbench", type=Path, help="MaskBench's file, one schema a line")
    parser.add_argument("--model", default=CHAT, help="whose vocabulary is used")
    parser.add_argument("--limit", type=int, help="how many schemas; all where it is not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="1/1", metavar="I/N", help="the I-th of N equal parts")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="keep and take up results there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
