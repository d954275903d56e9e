"""Thousands of replies under real schemas, with random budgets and temperatures: none may break.

    python -m benchmarks.soak MASKBENCH --json soak.json
    python -m benchmarks.soak MASKBENCH --model smollm2-135m --replies 200
    python -m benchmarks.soak MASKBENCH --first 5580 --replies 1 --only Github_easy/o21053

MASKBENCH is MaskBench's file of schemas, one JSON object a line, gzip or not. Without --model a
tiny model of random weights writes: nothing tries a grammar harder than one that does not know
what it writes. Each draw has a schema, a temperature and a budget from --seed and its number:
the shortest reply that is known of the schema and 0 to 400 tokens more, and in one draw of twenty
fewer tokens than that reply has: refused before anything is written, or filled by a reply that is
still shorter. Draws go on until --replies are written. A fault names its draw, and is seen again
with --first NUMBER --only NAME (schemas whose names begin so). A whole reply that a validator
refuses is asked for once more, as the chat model does, and is an error, not a reply, where it
fails again.

With --rows a run that was stopped goes on where it was, and parts can run side by side:

    python -m benchmarks.soak MASKBENCH --replies 5000 --part 1/2 --rows one.jsonl
    python -m benchmarks.soak MASKBENCH --replies 5000 --part 2/2 --rows two.jsonl
    cat one.jsonl two.jsonl > all.jsonl
    python -m benchmarks.soak MASKBENCH --rows all.jsonl

Progress goes to stderr, tables to stdout.

The time of constraints is processor time in guides, from the compiling of the grammar on, with
the choice of tokens under the mask, as a part of all processor time of the replies.

Exit code 1 where a reply is malformed or unfinished, or anything crashes.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

from benchmarks.maskbench import Case, part_of, read_cases
from benchmarks.rows import KeptRows
from benchmarks.soak_report import BROKEN, Draw, Soak, report
from llm_core.bench.measure import machine
from llm_core.constrain import BudgetError, SchemaError, json_guide
from llm_core.engine import Engine
from llm_core.errors import ModelError
from llm_core.guides import Guide
from llm_core.loading import resolve
from llm_core.masks import Mask
from llm_core.prompt import ChatTemplate, Turn
from llm_core.sampling import Sampling
from llm_core.structured import schema_hint
from llm_core.validation import failing

_TOGETHER = 32  # replies written side by side
_SPARE = 400  # tokens of a budget, at most, beyond the shortest reply
_MOST = 768  # tokens of one reply
_TIGHT = 0.05  # of the draws have a budget below the shortest reply
_TEMPERATURES = (0.0, 0.3, 0.7, 1.0, 1.5, 5.0)


class ClockedGuide:
    """A guide that adds up the processor seconds of its thread spent under it.

    The clock runs from the asking for a mask until a token is accepted, so that the choice of
    the token counts too.
    """

    def __init__(self, guide: Guide, seconds: float = 0.0) -> None:
        self._guide = guide
        self._since = 0.0
        self.seconds = seconds

    def mask(self) -> Mask:
        """As of the guide."""
        self._since = time.thread_time()
        return self._guide.mask()

    def accept(self, token: int) -> int:
        """As of the guide."""
        taken = self._guide.accept(token)
        self.seconds += time.thread_time() - self._since
        return taken

    def forced(self) -> list[int]:
        """As of the guide."""
        since = time.thread_time()
        tokens = self._guide.forced()
        self.seconds += time.thread_time() - since
        return tokens

    def done(self) -> bool:
        """As of the guide."""
        return self._guide.done()


@dataclass
class _Asked:
    case: Case
    sampling: Sampling
    prompt: list[int]
    guide: ClockedGuide
    draw: Draw

    @property
    def name(self) -> str:
        """All that it takes to ask for the same again."""
        how, draw = self.sampling, self.draw
        return (
            f"{draw.name}, number {draw.number}, budget {draw.budget}, "
            f"temperature {how.temperature}, sampling seed {how.seed}"
        )


class Soaker:
    """Asks one engine for replies; all that is random comes from `seed` and a draw's number."""

    def __init__(self, engine: Engine, cases: Sequence[Case], seed: int) -> None:
        self._engine = engine
        self._cases = cases
        self._seed = seed
        self._template = ChatTemplate(engine.tokenizer)
        self._room = min(_MOST, engine.window * 3 // 4)

    def round(self, numbers: Sequence[int]) -> list[Draw]:
        """These draws, their replies side by side, and again those that are not valid."""
        began = time.process_time()
        drawn = [self._ask(number) for number in numbers]
        asked = [each for each in drawn if isinstance(each, _Asked)]
        again = [self._repeat(each) for each in self._write(asked)]
        failed = {id(each.draw) for each in self._write(again)}
        for each in again:
            each.draw.outcome = "refused" if id(each.draw) in failed else each.draw.outcome
        draws = [each.draw if isinstance(each, _Asked) else each for each in drawn]
        for draw in draws:
            draw.all_seconds = (time.process_time() - began) / len(draws)
        return draws

    def _ask(self, number: int) -> _Asked | Draw:
        rng = random.Random(f"{self._seed} {number}")
        part, tight = rng.random(), rng.random() < _TIGHT
        spare = rng.choice([0, rng.randint(0, 30), rng.randint(10, 120), rng.randint(60, _SPARE)])
        how = Sampling(temperature=rng.choice(_TEMPERATURES), seed=rng.getrandbits(32))
        case = rng.choice(self._cases)  # last: the rest is the same whichever there are
        draw = Draw(number, case.name)
        began = time.thread_time()
        try:
            draw.shortest = self._engine.tokenizer.grammars.of_json(case.schema).shortest
            if draw.shortest > self._room:
                draw.outcome = "too long"
                return draw
            draw.budget = min(draw.shortest + spare, self._room)
            if tight:
                draw.budget = 1 + int(part * (draw.shortest - 1))
            guide = json_guide(case.schema, self._engine.tokenizer, draw.budget)
        except SchemaError:
            draw.outcome = "uncompiled"
        except BudgetError as error:
            draw.outcome = "too small" if draw.budget < draw.shortest else "crash"
            draw.fault = "" if draw.outcome == "too small" else _told(draw, error)
        except Exception as error:
            draw.outcome, draw.fault = "crash", _told(draw, error)
        else:
            clocked = ClockedGuide(guide, time.thread_time() - began)
            return _Asked(case, how, self._prompt(case), clocked, draw)
        return draw

    def _prompt(self, case: Case) -> list[int]:
        """A hint of the schema, cut to an eighth of the window."""
        tokenizer = self._engine.tokenizer
        hint = tokenizer.encode(schema_hint(case.schema), marks=False)
        text = tokenizer.decode(hint[: self._engine.window // 8])
        return self._template.encode([Turn("user", text)])

    def _repeat(self, asked: _Asked) -> _Asked:
        how = asked.sampling
        how = Sampling(temperature=max(0.3, how.temperature), seed=asked.draw.budget)
        return replace(self._anew(asked), sampling=how)

    def _anew(self, asked: _Asked) -> _Asked:
        guide = json_guide(asked.case.schema, self._engine.tokenizer, asked.draw.budget)
        return replace(asked, guide=ClockedGuide(guide))

    def _write(self, asked: Sequence[_Asked]) -> list[_Asked]:
        """Those whose replies are whole and not valid; what came of the others is noted."""
        if not asked:
            return []
        engine = self._engine
        try:
            replies = engine.generate_batch(
                [each.prompt for each in asked],
                max_tokens=self._room,
                sampling=[each.sampling for each in asked],
                stop_ids=engine.tokenizer.end_ids,
                guides=[each.guide for each in asked],
            )
        except Exception as error:
            if len(asked) == 1:
                draw = asked[0].draw
                draw.outcome, draw.fault = "crash", f"{asked[0].name}: {_told(draw, error)}"
                return []
            return [found for each in asked for found in self._write([self._anew(each)])]
        written = zip(asked, replies, strict=True)
        return [
            each
            for each, reply in written
            if self._fails(each, [step.token for step in reply.steps], reply.finish)
        ]

    def _fails(self, asked: _Asked, tokens: list[int], finish: str) -> bool:
        """Whether a whole reply is not valid; what came of it is noted."""
        draw, name = asked.draw, asked.name
        draw.tokens += len(tokens)
        draw.guide_seconds += asked.guide.seconds
        text = b"".join(self._engine.tokenizer.pieces[token] for token in tokens)
        if finish != "stop" or len(tokens) > draw.budget:
            draw.outcome = "unfinished"
            draw.fault = f"{name}: {finish} after {len(tokens)} of {draw.budget}"
            return False
        try:
            value = json.loads(text.decode())
        except ValueError as error:
            draw.outcome = "malformed"
            draw.fault = f"{name}: {error}: {text[-200:]!r}"
            return False
        found = failing(value, asked.case.schema)
        draw.outcome = "repaired" if draw.invalid_by else "valid"
        if found is not None:
            draw.invalid_by = draw.invalid_by or str(found.validator)
        return found is not None


def _told(draw: Draw, error: Exception) -> str:
    return f"{draw.name}, number {draw.number}: {type(error).__name__}: {error}"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the replies and print what came of them; returns the exit code."""
    given = _arguments(argv)
    scratch = nullcontext("") if given.model else tempfile.TemporaryDirectory()
    about: dict[str, Any] = {
        "benchmark": "soak",
        "model": given.model,
        "seed": given.seed,
        "only": given.only,
    }
    try:
        with scratch as folder:
            cases = _named(read_cases(given.maskbench), given.only)
            kept = KeptRows(given.rows, about)
            place = resolve(given.model) if given.model else _tiny(Path(folder))
            soaker = Soaker(Engine(place, threads=given.threads), cases, given.seed)
            soak = _run(soaker, kept, _numbers(kept, given), given.replies)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    what = given.model or "a tiny model of random weights"
    print("\n".join([f"{what}, seed {given.seed}", *report(soak)]))
    if given.json:
        about |= {**vars(soak), "replies": soak.replies, "share": soak.share}
        text = json.dumps({"machine": machine(), **about}, indent=2)
        given.json.write_text(text + "\n", encoding="utf-8")
    return int(not soak.sound)


def _named(cases: Sequence[Case], name: str) -> list[Case]:
    found = [case for case in cases if case.name.startswith(name)]
    if not found:
        raise ModelError(f"no schema has a name that begins with {name!r}")
    return found


def _numbers(kept: KeptRows, given: argparse.Namespace) -> Iterator[int]:
    """The numbers of draws that are still to do."""
    first, step = part_of(given.part)
    done = {row["number"] for row in kept.rows}
    return (number for number in count(given.first + first, step) if number not in done)


def _run(soaker: Soaker, kept: KeptRows, numbers: Iterator[int], replies: int) -> Soak:
    soak, said = Soak(), 0
    for row in kept.rows:
        soak.add(Draw(**row))
    while (left := replies - soak.replies - soak.outcomes["crash"]) > 0:
        for draw in soaker.round(list(islice(numbers, min(left, _TOGETHER)))):
            kept.add(asdict(draw))
            soak.add(draw)
        if soak.replies - said >= 500 or soak.replies >= replies:
            said = soak.replies
            broken = ", ".join(f"{soak.outcomes[each]} {each}" for each in BROKEN)
            print(f"{said} replies, {broken}", file=sys.stderr, flush=True)
    return soak


def _tiny(folder: Path) -> Path:
    from tests.llm_core.tiny import build_tiny

    return build_tiny(folder, window=1024)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="Replies under real schemas, with random budgets and temperatures.",
    )
    parser.add_argument("maskbench", type=Path, help="MaskBench's schemas, one a line")
    parser.add_argument("--model", help="a tiny model of random weights where it is not given")
    parser.add_argument("--replies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first draw")
    parser.add_argument("--only", default="", metavar="NAME", help="schemas of names so begun")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="the I-th of N equal parts")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="keep and take up results there")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
