"""What `python -m graphs.evaluate queries` and `multihop` are told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from graphs.commandline import AsJson, Quiet
from graphs.evaluate.given import Asked, Cache, Seed, Split

QUESTION: Final = "question"  # the plan without any option
Data = Annotated[
    list[Path],
    typer.Option(
        "--data",
        help="HotpotQA, 2WikiMultihopQA, MuSiQue or SQuAD (JSONL or .gz; several are pooled), or a"
        " folder in BEIR layout.",
    ),
]
Plans = Annotated[str, typer.Option("--plans", help="Names with commas between; + joins options.")]
Typos = Annotated[
    int, typer.Option("--typos", help="Words of each question that are misspelt, at random.")
]


@dataclass(frozen=True)
class QueriesGiven:
    """The switches of the command."""

    data: Data
    plans: Plans = f"{QUESTION},bridge"
    split: Split = "train"
    limit: Asked = None
    seed: Seed = 0
    typos: Typos = 0
    as_json: AsJson = False
    cache: Cache = None
    quiet: Quiet = False
