"""`generate`: write one reply, or compare the ways of choosing its tokens."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_core.commands.given import DEFAULT_MODEL, AsJson, Model, Threads, open_model, text_of

if TYPE_CHECKING:
    from llm_core.commands.replies import Writer, Written
    from llm_core.sampling import Sampling

Prompt = Annotated[
    str, typer.Argument(help='What to answer or continue; "-" reads standard input.')
]
System = Annotated[str | None, typer.Option("--system", help="A system message before PROMPT.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="Continue PROMPT as it is, without the chat template.")
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", "-n", min=1, help="Length of the reply.")]
Temperature = Annotated[
    float, typer.Option("--temperature", "-t", min=0, help="0 takes the likeliest token.")
]
TopK = Annotated[int, typer.Option("--top-k", min=0, help="Draw from so many tokens; 0: all.")]
TopP = Annotated[
    float, typer.Option("--top-p", min=0, max=1, help="Draw from this share of the probability.")
]
MinP = Annotated[
    float,
    typer.Option("--min-p", min=0, max=1, help="Draw what has this share of the best token's."),
]
Repetition = Annotated[
    float, typer.Option("--repetition-penalty", min=0, help="Above 1: repeat less.")
]
Frequency = Annotated[
    float, typer.Option("--frequency-penalty", help="Taken off a logit for each earlier use.")
]
Beams = Annotated[int, typer.Option("--beams", min=1, help="Beam search of this width.")]
Best = Annotated[int, typer.Option("--best", min=1, help="Print so many replies of the search.")]
Seed = Annotated[int | None, typer.Option("--seed", help="The same draws every time.")]
Compare = Annotated[
    bool, typer.Option("--compare", help="Five ways of choosing tokens side by side.")
]
Logprobs = Annotated[
    int, typer.Option("--logprobs", min=0, max=50, help="Likeliest tokens at each place, in JSON.")
]
AdapterFolder = Annotated[
    Path | None, typer.Option("--adapter", metavar="PATH", help="Folder of a LoRA adapter (PEFT).")
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="The same bytes whatever was asked before.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No figures on stderr.")]


def generate(
    prompt: Prompt,
    model: Model = DEFAULT_MODEL,
    system: System = None,
    raw: Raw = False,
    max_tokens: MaxTokens = 128,
    temperature: Temperature = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: Repetition = 1.0,
    frequency_penalty: Frequency = 0.0,
    seed: Seed = None,
    beams: Beams = 1,
    best: Best = 1,
    compare: Compare = False,
    adapter: AdapterFolder = None,
    deterministic: Deterministic = False,
    logprobs: Logprobs = 0,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Answer PROMPT, or continue it with --raw.

    --compare shows what greedy choice, temperature, top-k, top-p and beam search make of one
    prompt, token by token, with the probability that the model gives each token.
    """
    from llm_core.commands.replies import Request, Writer
    from llm_core.errors import ModelError
    from llm_core.sampling import Sampling

    if best > beams:
        raise ModelError(f"--best {best} needs --beams {best} or more")
    if beams > 1 and temperature > 0 and not compare:
        raise ModelError(f"--beams {beams} draws nothing: leave out --temperature {temperature:g}")
    penalties = (repetition_penalty, frequency_penalty)
    try:
        sampling = Sampling(temperature, top_k, top_p, seed, min_p, *penalties)
    except ValueError as error:
        raise ModelError(str(error)) from error
    engine = open_model(model, threads)
    request = Request(text_of(prompt), system, raw, max_tokens, adapter, deterministic, logprobs)
    writer = Writer(engine, request)
    written = _write(writer, sampling, beams, best, compare, stream=not as_json)
    if as_json:
        found = {"model": model, "backend": engine.backend.name, "prompt": writer.prompt}
        found["replies"] = [reply.as_dict() for reply in written]
        print(json.dumps(found))
    if not quiet:
        print(_figures(engine.backend.name, len(writer.prompt), written), file=sys.stderr)


def _write(
    writer: "Writer", sampling: "Sampling", beams: int, best: int, both: bool, stream: bool
) -> "list[Written]":
    """Write what was asked for, and print it where it is not for JSON."""
    from llm_core.commands.compare import compare, compared

    if both:
        written = compare(writer, sampling, beams)
        if stream:
            print("\n".join(compared(written)))
        return written
    if beams == 1:
        show = (lambda text: print(text, end="", flush=True)) if stream else None
        written = [writer.write("sampled" if sampling.temperature else "greedy", sampling, show)]
        if stream:
            print()
        return written
    written = writer.search(f"beam {beams}", beams, best)
    if stream:
        print("\n\n".join(reply.text for reply in written))
    return written


def _figures(backend: str, prompt: int, written: "list[Written]") -> str:
    """One line on the speed of the first reply."""
    reply = written[0]
    line = f"{backend}: {prompt} tokens read, first token in {reply.first:.2f} s"
    if len(reply.tokens) > 1:
        line += f", {(len(reply.tokens) - 1) / reply.rest:.1f} tokens/s"
    return f"{line}, ended by {reply.finish}"
