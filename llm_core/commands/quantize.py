"""`quantize`: a model with smaller weights."""

from typing import Annotated, Literal

import typer

from llm_core.commands.convert import Source, Target, show_progress, summary, weights_of

Kind = Annotated[
    Literal["q8_0", "q4_1", "q4_0"],
    typer.Option("--type", help="How the matrices are stored: 8.5, 5 or 4.5 bits a weight."),
]


def quantize(source: Source, target: Target, kind: Kind = "q8_0") -> None:
    """Write a model with quantised weights, as a GGUF file or as a folder that holds one.

    Embeddings and head are stored in q8_0, vectors in float32. From weights that are quantised
    already more is lost than from the original ones.
    """
    from llm_core.convert import quantise_model

    quantise_model(weights_of(source), target, kind.upper(), show_progress)
    print(summary(target))
