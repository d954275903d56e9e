"""`score`: how likely a model finds each of several continuations of one text."""

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_core.commands.given import DEFAULT_MODEL, AsJson, Model, Threads, open_model, text_of

if TYPE_CHECKING:
    from llm_core.engine import Engine

Prompt = Annotated[str, typer.Argument(help='What comes before; "-" reads standard input.')]
Tails = Annotated[
    list[str], typer.Argument(help="Texts that may follow.", metavar="CONTINUATION...")
]
Raw = Annotated[
    bool, typer.Option("--raw", help="PROMPT as it is, not as a message in the chat template.")
]


def score(
    prompt: Prompt,
    continuations: Tails,
    model: Model = DEFAULT_MODEL,
    raw: Raw = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Rank CONTINUATIONs of PROMPT by their likelihood.

    Each line shows the share of the probability among the given ones, the summed natural-log
    probability, the mean of it per token, and the number of tokens.
    """
    engine = open_model(model, threads)
    rows = scored(engine, text_of(prompt), continuations, raw)
    if as_json:
        print(json.dumps({"prompt": prompt, "continuations": rows}))
        return
    for row in sorted(rows, key=lambda row: -row["logprob"]):
        print(
            f"{row['share']:7.2%}  {row['logprob']:9.3f}  {row['per_token']:7.3f} a token"
            f"  {row['tokens']:3d} tokens  {row['text']}"
        )


def scored(engine: "Engine", prompt: str, tails: list[str], raw: bool) -> list[dict[str, Any]]:
    """Text, tokens, logprob, per_token and share of each continuation, in the given order."""
    from llm_core.errors import ModelError
    from llm_core.prompt import ChatTemplate, Turn

    tokenizer = engine.tokenizer
    head = (
        tokenizer.encode(prompt, marks=False)
        if raw
        else ChatTemplate(tokenizer).encode([Turn("user", prompt)])
    )
    ids = [tokenizer.encode(tail, marks=False) for tail in tails]
    for tail, tokens in zip(tails, ids, strict=True):
        if not tokens:
            raise ModelError(f"the continuation {tail!r} has no token; give some text")
    if not head:
        raise ModelError("the prompt has no token; give some text")
    found = engine.score(head, ids)
    best = max(found)
    total = sum(math.exp(value - best) for value in found)
    return [
        {
            "text": tail,
            "tokens": len(tokens),
            "logprob": value,
            "per_token": value / len(tokens),
            "share": math.exp(value - best) / total,
        }
        for tail, tokens, value in zip(tails, ids, found, strict=True)
    ]
