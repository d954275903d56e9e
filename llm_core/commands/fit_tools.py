"""`fit-tools`: how the signs that a tool is wanted are weighed, fitted on labelled turns."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_core.commands.given import DEFAULT_MODEL, Model, Threads, open_model

if TYPE_CHECKING:
    from llm_core.prompt import Turn
    from llm_core.tool_choice import Signs
    from llm_core.tool_examples import Example
    from llm_core.tool_fitting import Case
    from llm_core.toolcalls import ToolSpec

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A folder of labelled tool use (SGD, API-Bank, ToolRL or Glaive layout), or one file.",
    ),
]
Limit = Annotated[
    int,
    typer.Option(min=10, help="Turns of each file for each of: called, answered, strange tools."),
]
Only = Annotated[
    list[str] | None, typer.Option("--only", help="Read files whose names begin with this alone.")
]
Seed = Annotated[int, typer.Option(help="Which turns are drawn.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Write the weights there; llm_core/tool_choice.json is what replies use."),
]

Cues = Annotated[
    Path | None,
    typer.Option(
        help="Fit which optional arguments a call gives instead, and write the weights there; "
        "llm_core/cues.json is what calls use."
    ),
]


def fit_tools(
    data: Data,
    model: Model = DEFAULT_MODEL,
    only: Only = None,
    limit: Limit = 60,
    out: Out = None,
    cues: Cues = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Fit when a tool is called rather than an answer given.

    Prints weights, threshold, area under the ROC curve and the shares of kept calls and
    refused others, measured on folds that were not fitted on.
    """
    from llm_core.tool_examples import read_examples
    from llm_core.tool_fitting import draw

    examples = [
        one
        for one in read_examples(data)
        if only is None or any(one.source.startswith(name) for name in only)
    ]
    if cues is not None:
        from llm_core.cue_fitting import cues_of, fit_cues

        report, out = fit_cues(list(cues_of(examples, limit, seed)), seed), cues
    else:
        cases = list(_cases(draw(examples, limit, seed), model, threads))
        report = fitted(cases, model, seed)
    text = json.dumps(report, indent=2) + "\n"
    if out is not None:
        out.write_text(text, encoding="utf-8")
    print(text, end="")


def fitted(cases: "Sequence[Case]", model: str, seed: int) -> dict[str, Any]:
    """The file of weights: two fits, and what they were made from."""
    from llm_core.errors import ModelError
    from llm_core.tool_fitting import fit

    called = sum(case.wanted for case in cases)
    if not 0 < called < len(cases):
        raise ModelError(
            f"of {len(cases)} turns {called} call a tool; fitting needs some that do and some "
            "that do not"
        )
    sources = sorted({case.source for case in cases})
    return {
        "fitted": date.today().isoformat(),
        "model": model,
        "seed": seed,
        "turns": {
            source: {
                "called": sum(case.wanted for case in cases if case.source == source),
                "not": sum(not case.wanted for case in cases if case.source == source),
            }
            for source in sources
        },
        "with": fit(cases, embeddings=True).row(),
        "without": fit(cases, embeddings=False).row(),
    }


def _cases(examples: "Sequence[Example]", model: str, threads: int | None) -> "Iterator[Case]":
    from llm_core.calls import asked_of
    from llm_core.errors import ModelNotFoundError
    from llm_core.prompt import ChatTemplate
    from llm_core.tool_choice import Chooser, default_embedder
    from llm_core.tool_fitting import cases_of

    embedder = default_embedder()
    if embedder is None:
        raise ModelNotFoundError(
            "fitting needs the default embedding model; fetch it with "
            "`python -m graphs.doctor --fetch`"
        )
    engine = open_model(model, threads)
    template = ChatTemplate(engine.tokenizer)
    chooser = Chooser(engine.tokenizer, template, engine.score_sequences, embedder)

    def signs(turns: "Sequence[Turn]", tools: "Sequence[ToolSpec]") -> "Signs":
        request = asked_of(turns)
        return chooser.signs(turns, request, chooser.pick(request, tools))

    began = time.perf_counter()
    for number, case in enumerate(cases_of(examples, signs), start=1):
        if number % 50 == 0 or number == len(examples):
            rate = (time.perf_counter() - began) / number
            print(f"{number} of {len(examples)} turns, {rate:.2f} s each", file=sys.stderr)
        yield case
