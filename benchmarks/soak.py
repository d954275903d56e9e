"""Thousands of replies under real schemas, with random budgets and temperatures: none may break.

    python -m benchmarks.soak MASKBENCH --json soak.json
    python -m benchmarks.soak MASKBENCH --model smollm2-135m --replies 200
    python -m benchmarks.soak MASKBENCH --first 5580 --replies 100 --only Github_easy/o21053

MASKBENCH is MaskBench's file of schemas, one JSON object a line, gzip or not. Without --model a
tiny model of random weights writes: nothing tries a grammar harder than one that does not know
what it writes. Each reply has a schema, a budget and a temperature drawn from --seed and its
number. A fault names them, and is seen again with --first NUMBER --only NAME (schemas whose names
begin so). Where the budget cannot hold the shortest reply, and that is said before anything is
written, it is doubled. A whole reply that a validator refuses is asked for once more, as the chat
model does, and is an error, not a reply, where it fails again. Progress goes to stderr, tables to
stdout.

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
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.maskbench import Case, read_cases
from llm_core.bench.measure import machine
from llm_core.bench.report import table
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
_MOST = 400  # tokens of one reply
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
class Soak:
    """What came of the replies."""

    replies: int = 0
    tokens: int = 0
    malformed: int = 0
    unfinished: int = 0
    crashes: int = 0
    repaired: int = 0
    refused: int = 0  # invalid twice: an error is raised in place of a reply
    uncompiled: int = 0  # schemas refused before anything was written
    too_small: int = 0  # budgets refused before anything was written
    guide_seconds: float = 0.0
    all_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    keywords: Counter[str] = field(default_factory=Counter)  # why replies were asked for again

    @property
    def sound(self) -> bool:
        """Whether nothing broke."""
        return not (self.malformed or self.unfinished or self.crashes)

    @property
    def share(self) -> float:
        """The part of the processor time that constraints took."""
        return self.guide_seconds / self.all_seconds if self.all_seconds else 0.0


@dataclass
class _Asked:
    number: int
    case: Case
    budget: int
    sampling: Sampling
    guide: ClockedGuide
    prompt: list[int]

    @property
    def name(self) -> str:
        """All that it takes to ask for the same again."""
        how = self.sampling
        return (
            f"{self.case.name}, number {self.number}, budget {self.budget}, "
            f"temperature {how.temperature}, sampling seed {how.seed}"
        )


class Soaker:
    """Asks one engine for replies; all that is random comes from `seed` and a reply's number."""

    def __init__(self, engine: Engine, cases: Sequence[Case], seed: int, first: int = 0) -> None:
        self._engine = engine
        self._cases = cases
        self._seed = seed
        self._number = first
        self._template = ChatTemplate(engine.tokenizer)
        self._longest = engine.window // 4
        self.soak = Soak()

    def round(self, count: int) -> None:
        """`count` replies, side by side, and the second tries of those that are not valid."""
        asked = [self._ask() for _ in range(count)]
        ready = [each for each in asked if each is not None]
        again = [each for each in self._write(ready) if each is not None]
        for each in self._write([each for each in map(self._repeat, again) if each]):
            self.soak.repaired += each is None
            self.soak.refused += each is not None

    def _ask(self) -> _Asked | None:
        number, self._number = self._number, self._number + 1
        rng = random.Random(f"{self._seed} {number}")
        budget = rng.choice([rng.randint(1, 30), rng.randint(10, 120), rng.randint(60, _MOST)])
        how = Sampling(temperature=rng.choice(_TEMPERATURES), seed=rng.getrandbits(32))
        case = rng.choice(self._cases)  # last: the rest is the same whichever there are
        hint = self._engine.tokenizer.encode(schema_hint(case.schema), marks=False)
        text = self._engine.tokenizer.decode(hint[: self._longest // 2])
        prompt = self._template.encode([Turn("user", text)])
        return self._guided(number, case, budget, how, prompt)

    def _repeat(self, asked: _Asked) -> _Asked | None:
        how = Sampling(temperature=max(0.3, asked.sampling.temperature), seed=asked.budget)
        return self._guided(asked.number, asked.case, asked.budget, how, asked.prompt)

    def _guided(
        self, number: int, case: Case, budget: int, how: Sampling, prompt: list[int]
    ) -> _Asked | None:
        began = time.thread_time()
        while budget <= _MOST:
            try:
                guide = json_guide(case.schema, self._engine.tokenizer, budget)
            except BudgetError:
                self.soak.too_small += 1
                budget *= 2
            except SchemaError:
                break
            except Exception as error:
                self._crash(f"{case.name}, number {number}", error)
                return None
            else:
                spent = time.thread_time() - began
                self.soak.all_seconds += spent
                return _Asked(number, case, budget, how, ClockedGuide(guide, spent), prompt)
        self.soak.uncompiled += 1
        return None

    def _write(self, asked: Sequence[_Asked]) -> list[_Asked | None]:
        """Those whose replies are whole and not valid; None for the others."""
        if not asked:
            return []
        engine = self._engine
        began = time.process_time()
        try:
            replies = engine.generate_batch(
                [each.prompt for each in asked],
                max_tokens=_MOST,
                sampling=[each.sampling for each in asked],
                stop_ids=engine.tokenizer.end_ids,
                guides=[each.guide for each in asked],
            )
        except Exception as error:
            if len(asked) == 1:
                self._crash(asked[0].name, error)
                return [None]
            return [found for each in asked for found in self._write([each])]
        self.soak.all_seconds += time.process_time() - began
        return [
            each if self._fails(each, [step.token for step in reply.steps], reply.finish) else None
            for each, reply in zip(asked, replies, strict=True)
        ]

    def _fails(self, asked: _Asked, tokens: list[int], finish: str) -> bool:
        """Whether a whole reply is not valid; counts what is not even whole."""
        soak, name = self.soak, asked.name
        soak.replies += 1
        soak.tokens += len(tokens)
        soak.guide_seconds += asked.guide.seconds
        text = b"".join(self._engine.tokenizer.pieces[token] for token in tokens)
        if finish != "stop" or len(tokens) > asked.budget:
            soak.unfinished += 1
            soak.faults.append(f"{name}: {finish} after {len(tokens)} of {asked.budget}")
            return False
        try:
            value = json.loads(text.decode())
        except ValueError as error:
            soak.malformed += 1
            soak.faults.append(f"{name}: {error}: {text[-200:]!r}")
            return False
        found = failing(value, asked.case.schema)
        if found is not None:
            soak.keywords[str(found.validator)] += 1
        return found is not None

    def _crash(self, name: str, error: Exception) -> None:
        self.soak.crashes += 1
        self.soak.faults.append(f"{name}: {type(error).__name__}: {error}")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the replies and print what came of them; returns the exit code."""
    given = _arguments(argv)
    scratch = nullcontext("") if given.model else tempfile.TemporaryDirectory()
    try:
        with scratch as folder:
            place = resolve(given.model) if given.model else _tiny(Path(folder))
            engine = Engine(place, threads=given.threads)
            cases = _named(read_cases(given.maskbench), given.only)
            soaker = Soaker(engine, cases, given.seed, given.first)
            _run(soaker, given.replies)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _show(soaker.soak, given)
    return int(not soaker.soak.sound)


def _named(cases: Sequence[Case], name: str) -> list[Case]:
    found = [case for case in cases if case.name.startswith(name)]
    if not found:
        raise ModelError(f"no schema has a name that begins with {name!r}")
    return found


def _run(soaker: Soaker, replies: int) -> None:
    soak, said = soaker.soak, 0
    while (left := replies - soak.replies - soak.crashes) > 0:
        soaker.round(min(left, _TOGETHER))
        if soak.replies - said >= 500 or soak.replies >= replies:
            said = soak.replies
            print(
                f"{soak.replies} replies, {soak.malformed} malformed, {soak.unfinished} "
                f"unfinished, {soak.crashes} crashes",
                file=sys.stderr,
                flush=True,
            )


def _show(soak: Soak, given: argparse.Namespace) -> None:
    per_reply = max(soak.replies, 1)
    ms = 1e3 * soak.guide_seconds / per_reply
    rows = [
        ("replies", soak.replies),
        ("malformed", soak.malformed),
        ("unfinished", soak.unfinished),
        ("crashes", soak.crashes),
        ("not valid, asked for again", sum(soak.keywords.values()) - soak.refused),
        ("not valid again: an error", soak.refused),
        ("schemas without a grammar or too long for any budget: an error", soak.uncompiled),
        ("budgets too small for the shortest reply: an error", soak.too_small),
        ("tokens a reply", round(soak.tokens / per_reply)),
        ("constraints, ms of processor time a reply", f"{ms:.2f}"),
        ("constraints, part of all processor time", f"{soak.share:.1%}"),
    ]
    print(f"{given.model or 'a tiny model of random weights'}, seed {given.seed}")
    print("\n".join(table(["", ""], [[name, str(value)] for name, value in rows])))
    causes = [[name, str(count)] for name, count in soak.keywords.most_common()]
    print("\n".join(["", *table(["keyword that a reply broke", "replies"], causes)]))
    for fault in soak.faults[:20]:
        print(fault)
    if given.json:
        report: dict[str, Any] = {"machine": machine(), "seed": given.seed, "model": given.model}
        report |= {**vars(soak), "share": soak.share, "keywords": dict(soak.keywords)}
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


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
    parser.add_argument("--first", type=int, default=0, help="the number of the first reply")
    parser.add_argument("--only", default="", metavar="NAME", help="schemas of names so begun")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
