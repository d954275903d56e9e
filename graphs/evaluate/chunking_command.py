"""The `chunking` command: a table, JSON or a plot of what each way of cutting finds."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from graphs.commandline import AsJson, Quiet
from graphs.errors import UserError
from graphs.evaluate.given import Seed
from graphs.evaluate.outcome import exit_code

Data = Annotated[
    list[Path],
    typer.Option("--data", help="Questions in SQuAD layout (JSONL or .gz); more than one is one."),
]
Strategies = Annotated[str, typer.Option("--strategies", help="Names, separated by commas.")]
Sizes = Annotated[str, typer.Option("--sizes", help="Characters of a passage, by commas.")]
Overlaps = Annotated[
    str,
    typer.Option("--overlaps", help="Shares of a passage that are repeated, by commas."),
]
Questions = Annotated[int | None, typer.Option("--limit", help="How many questions are asked.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw the figures into this file.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder that keeps vectors.")]


@dataclass(frozen=True)
class GivenChunking:
    """The switches of the command."""

    data: Data
    strategies: Strategies = "structure,sentence,recursive,token,parent-child"
    sizes: Sizes = "300,600,900,1350"
    overlaps: Overlaps = "0,0.2"
    limit: Questions = None
    seed: Seed = 0
    plot: Plot = None
    as_json: AsJson = False
    cache: Cache = None
    quiet: Quiet = False


def run_chunking(given: GivenChunking) -> int:
    """Measure every setting and report; an expected error is one line and exit code 2."""
    return exit_code(lambda: _report(given))


def _report(given: GivenChunking) -> None:
    if given.limit is not None and given.limit < 1:
        raise UserError(f"--limit {given.limit} asks nothing: give 1 or more")
    if given.plot is not None:
        from graphs.evaluate.retrieval_plot import check_picture

        check_picture(given.plot)
    rows = _measured(given)
    if given.plot is not None:
        from graphs.evaluate.chunking import plot

        plot(rows, given.plot)
    if given.as_json:
        print(json.dumps({"settings": rows, "seed": given.seed}, indent=1))
    else:
        _print_table(rows)


def _measured(given: GivenChunking) -> list[dict[str, Any]]:
    from graphs.evaluate.chunking import settings, study
    from graphs.evaluate.progress import progress_bar
    from graphs.evaluate.vectors import CachedEmbeddings
    from graphs.settings import load_settings
    from graphs.squad import read_examples
    from llm_core.embeddings import LocalEmbeddings
    from retrievers.chunking.strategies import make_chunker

    places = load_settings()
    wanted = settings(
        [name.strip() for name in given.strategies.split(",") if name.strip()],
        [int(size) for size in _numbers("--sizes", given.sizes)],
        _numbers("--overlaps", given.overlaps),
    )
    model = LocalEmbeddings(places.embeddings)
    for setting in wanted:  # refuse a wrong one before the work
        make_chunker(setting.strategy, setting.size, setting.overlap, model.token_spans)
    examples = [example for path in given.data for example in read_examples(path.expanduser())]
    cache = given.cache or places.data_dir / "evaluation" / "vectors"
    with progress_bar(sys.stderr, quiet=given.quiet) as progress:
        return list(
            study(
                examples,
                given.limit,
                wanted,
                CachedEmbeddings(model, cache),
                tokens=model.token_spans,
                seed=given.seed,
                progress=progress,
            )
        )


def _numbers(switch: str, text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = []
    if not found:
        raise UserError(f"{switch} {text!r} is no list of numbers: write for example 300,600")
    return found


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from graphs.evaluate.chunking import BUDGETS, K

    names = ["answer@1", f"recall@{K}", *(f"evidence@{budget}" for budget in BUDGETS)]
    print("| strategy | size | overlap | passages | characters | " + " | ".join(names) + " |")
    print("|---|---:|---:|---:|---:|" + "---:|" * len(names))
    for row in rows:
        figures = [
            f"{row[name]:.3f} ({row['intervals'][name][0]:.2f}-{row['intervals'][name][1]:.2f})"
            for name in names
        ]
        facts = [row["strategy"], row["size"], f"{row['overlap']:.0%}", row["passages"]]
        print("| " + " | ".join(map(str, [*facts, row["characters"], *figures])) + " |")
