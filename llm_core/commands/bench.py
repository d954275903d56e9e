"""`bench`: how fast the models run on this machine, beside rivals where they are installed."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from llm_core.commands.given import DEFAULT_MODEL, AsJson, Model, Threads

_PARTS = "speed, prefix, adapter, queue, fresh, embeddings, divergence"

Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Rounds; medians are shown.")]
Generate = Annotated[int, typer.Option("--generate", min=2, help="Tokens written in a reply.")]
Lengths = Annotated[
    list[int] | None, typer.Option("--prompt", help="Tokens of a prompt; may be given repeatedly.")
]
Only = Annotated[list[str] | None, typer.Option("--only", help=f"A part to measure, of: {_PARTS}.")]
Python = Annotated[
    str | None,
    typer.Option(
        "--python",
        metavar="PATH",
        help="Python with llama-cpp-python, transformers, sentence-transformers; else this one.",
    ),
]
NoRivals = Annotated[bool, typer.Option("--no-rivals", help="Measure our own models alone.")]
Text = Annotated[
    Path | None,
    typer.Option("--text", metavar="PATH", help="Text to read; Python's own help without it."),
]


def bench(
    model: Model = DEFAULT_MODEL,
    only: Only = None,
    rounds: Rounds = 5,
    prompt: Lengths = None,
    generate: Generate = 128,
    python: Python = None,
    no_rivals: NoRivals = False,
    text: Text = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure decoding, prefill, shared prefixes, adapters, start, memory and embeddings.

    Contenders work in processes of their own, in turn, round after round; a warning is
    printed where other programs were using the processors.
    """
    from llm_core.bench.plan import PARTS, Bench, Plan
    from llm_core.bench.report import lines
    from llm_core.bench.text import help_text, read_text
    from llm_core.loading import resolve
    from llm_core.settings import load_settings
    from llm_core.threads import core_count

    settings = load_settings()
    plan = Plan(
        folder=resolve(model, settings.cache_dir),
        python=None if no_rivals else python or sys.executable,
        threads=threads or settings.threads or core_count(),
        text=help_text() if text is None else read_text(text),
        parts=only or [part for part in PARTS if part != "divergence"],
        rounds=rounds,
        lengths=prompt or (128, 512, 2048),
        generate=generate,
        paragraphs=500,
    )
    report = Bench(plan, lambda line: print(line, file=sys.stderr)).run()
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(lines(report)))
