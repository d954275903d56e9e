"""Sentence embeddings of real paragraphs, ours against sentence-transformers.

    python -m benchmarks.embeddings --python RIVALS/bin/python --json embeddings.json

RIVALS is an environment with the package sentence-transformers; without --python it is looked
for in this one. The text is a book of samples/ unless --text names a UTF-8 file with empty lines
between paragraphs. Contenders embed the same paragraphs in turn, in processes of their own that
run all the time, each by its own way to form batches. Besides paragraphs a second the table has
paragraphs a second of processor time, which other programs on the machine disturb less.

Exit code 1 where ours is below 2.5 times sentence-transformers in float32, 1.4 times in bfloat16,
or a cosine to its float32 vectors below 0.999.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_core.bench.contender import Contender, Recipe, has_modules
from llm_core.bench.measure import Spread, machine, ratio
from llm_core.bench.report import show, table
from llm_core.bench.rounds import Setting, started
from llm_core.bench.text import Prompts, paragraphs, read_text
from llm_core.catalogue import EMBEDDINGS
from llm_core.errors import ModelError
from llm_core.loading import resolve
from llm_core.threads import core_count

TEXT = Path(__file__).resolve().parents[1] / "samples" / "the-adventures-of-sherlock-holmes.txt"
OURS = "ours"
REFERENCE = "sentence-transformers float32"
GOALS = {REFERENCE: (2.5, 3.3), "sentence-transformers bfloat16": (1.4, 1.8)}  # must, aim
LEAST_COSINE = 0.999


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = _arguments(argv)
    try:
        report = measure(given)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print("\n".join(lines(report)))
    return int(missed(report))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Every value of every round; raises ModelError where something is missing."""
    texts = paragraphs(read_text(given.text), given.count, given.least)
    recipes = _recipes(str(resolve(EMBEDDINGS, kind="embeddings")), given)
    setting = Setting(Prompts([]), given.rounds, _say)
    with started(recipes, _say) as running:
        cosine = _cosines(running, texts)
        rate: dict[str, dict[str, list[float]]] = {
            what: {one.name: [] for one in running} for what in ("wall", "cpu")
        }
        for number, contender in setting.turns(running):
            _say(f"round {number + 1}: {contender.name}")
            reply = contender.ask("embed", texts=texts)
            for what, values in rate.items():
                values[contender.name].append(len(texts) / reply[what])
    return {
        "machine": machine(),
        "threads": given.threads,
        "texts": len(texts),
        "characters": sum(map(len, texts)),
        "rate": rate,
        "cosine": cosine,
        "warning": setting.watch.warning(),
    }


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report as Markdown."""
    about, wall, cpu = report["machine"], report["rate"]["wall"], report["rate"]["cpu"]
    yield (
        f"{about['processor']}, {report['threads']} threads, {report['texts']} paragraphs of "
        f"{report['characters'] / report['texts']:.0f} characters, {about['date']}"
    )
    head = ["", "paragraphs/s", "ours is", "per processor second", "ours is", "lowest cosine"]
    rows = []
    for name in wall:
        own = name == OURS
        rows.append(
            [
                name,
                show(Spread.of(wall[name])),
                "" if own else show(ratio(wall[OURS], wall[name]), 2) + "x",
                show(Spread.of(cpu[name])),
                "" if own else show(ratio(cpu[OURS], cpu[name]), 2) + "x",
                f"{report['cosine'][name]:.5f}",
            ]
        )
    yield from table(head, rows)
    for name, (must, aim) in GOALS.items():
        if name in wall:
            found = ratio(wall[OURS], wall[name]).median
            yield f"{found:.2f}x {name}: must be {must}x, aim {aim}x"
    if report["warning"]:
        yield f"warning: {report['warning']}"


def missed(report: Mapping[str, Any]) -> bool:
    """Whether a figure misses what it must reach."""
    wall = report["rate"]["wall"]
    slow = (
        ratio(wall[OURS], wall[name]).median < must
        for name, (must, _aim) in GOALS.items()
        if name in wall
    )
    return any(slow) or report["cosine"][OURS] < LEAST_COSINE


def _recipes(model: str, given: argparse.Namespace) -> list[Recipe]:
    """The reference first: the cosines are to its vectors."""
    found = []
    for dtype in ("float32", "bfloat16"):
        load = {"path": model, "dtype": dtype, "threads": given.threads}
        name, worker = f"sentence-transformers {dtype}", "llm_core.bench.sentence_worker"
        if has_modules(given.python, ["sentence_transformers"]):
            found.append(Recipe(name, worker, load, given.python))
    if not found:
        _say(f"{given.python} has no sentence-transformers: cosines are to our float32 vectors")
    for name, dtype in ((f"{OURS} float32", "float32"), (OURS, "auto")):
        load = {"model": model, "dtype": dtype, "threads": given.threads}
        found.append(Recipe(name, "llm_core.bench.ours_embeddings", load))
    return found


def _cosines(running: Sequence[Contender], texts: Sequence[str]) -> dict[str, float]:
    """The lowest cosine of each contender's vectors to the first one's; also warms them up."""
    found: dict[str, float] = {}
    base = None
    with tempfile.TemporaryDirectory() as scratch:
        for contender in running:
            path = Path(scratch) / "vectors.npy"
            contender.ask("embed", texts=list(texts), out=str(path))
            vectors = np.load(path).astype(np.float64)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            base = vectors if base is None else base
            found[contender.name] = float((vectors * base).sum(axis=1).min())
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embeddings",
        description="Sentence embeddings, ours against sentence-transformers.",
    )
    parser.add_argument("--python", default=sys.executable, help="Python that has the rival")
    parser.add_argument("--text", type=Path, default=TEXT, help="UTF-8 text to read")
    parser.add_argument("--count", type=int, default=1000, help="paragraphs")
    parser.add_argument("--least", type=int, default=150, help="characters of a paragraph")
    parser.add_argument("--threads", type=int, default=core_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
