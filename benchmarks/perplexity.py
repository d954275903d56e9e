"""Perplexity of the model core and of transformers on the same weights and the same windows.

    python -m benchmarks.perplexity WIKITEXT2 --json perplexity.json

WIKITEXT2 is a folder with the file test.txt (or any UTF-8 text file). The text is cut into
windows of --window tokens that do not overlap, each read without what came before it; every
token but a window's first counts. --windows N takes N of them, evenly spread. Progress goes to
stderr, a table as Markdown to stdout. All of WikiText-2 takes an hour on two cores.

Exit code 1 where our float32 is more than 0.1 % from transformers in float32, our bfloat16 more
than 1 % from it, or the kernel on the stored weights more than 1 %.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from llm_core.backend import Rows, open_backend
from llm_core.bench.files import write_floats
from llm_core.bench.measure import machine
from llm_core.bench.report import table
from llm_core.bench.text import read_text
from llm_core.catalogue import CHAT
from llm_core.checkpoint import open_checkpoint
from llm_core.errors import ModelError
from llm_core.loading import resolve
from llm_core.settings import load_settings
from llm_core.threads import core_count
from llm_core.tokenizer import TextTokenizer

REFERENCE = "transformers float32"
LIMITS = {"ours float32": 0.001, "ours bfloat16": 0.01, "ours": 0.01}  # of the reference
CONTENDERS = (REFERENCE, "transformers bfloat16", *LIMITS)

# Gives the logits (T, V) of a window piece by piece, for rows from the first on.
Reader = Callable[[list[int]], Iterator[Tensor]]


@dataclass(frozen=True)
class Score:
    """What a contender made of the windows."""

    runs_on: str
    perplexity: float
    tokens: int  # that count
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = _arguments(argv)
    try:
        folder = resolve(given.model)
        path = given.text / "test.txt" if given.text.is_dir() else given.text
        windows = cut(_tokens(folder, read_text(path)), given.window, given.windows)
        torch.set_num_threads(given.threads)
        with tempfile.TemporaryDirectory() as scratch:
            scores = {name: _measure(name, folder, Path(scratch), windows) for name in given.only}
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report = {
        "machine": machine(),
        "text": path.name,
        "window": given.window,
        "windows": len(windows),
        "scores": {name: vars(score) for name, score in scores.items()},
    }
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"{len(windows)} windows of {given.window} tokens of {path.name}")
    print("\n".join(table(["", "runs on", "perplexity", f"to {REFERENCE}"], list(_rows(scores)))))
    return int(any(abs(change) > LIMITS.get(name, 1.0) for name, change in _changes(scores)))


def cut(tokens: Sequence[int], window: int, count: int | None) -> list[list[int]]:
    """Whole windows of `window` tokens, `count` of them evenly spread, or all.

    Raises ModelError where the text has fewer.
    """
    whole = len(tokens) // window
    if window < 2 or whole < (count or 1):
        raise ModelError(
            f"{len(tokens)} tokens do not make {count or 1} windows of {window}; "
            "give a longer text or ask for less"
        )
    count = count or whole
    chosen = [index * whole // count for index in range(count)]
    return [list(tokens[at * window : (at + 1) * window]) for at in chosen]


def perplexity(read: Reader, windows: Sequence[list[int]], say: Callable[[str], None]) -> float:
    """e to the mean negative log-likelihood, in nats, of all tokens but each window's first."""
    total, counted = 0.0, 0
    for number, window in enumerate(windows):
        at = 1  # the token that the next row of logits foretells
        for logits in read(window):
            wanted = torch.tensor(window[at : at + len(logits)])  # the last row foretells nothing
            found = logits[: len(wanted)].float().log_softmax(dim=-1)
            total -= float(found.gather(1, wanted[:, None]).double().sum())
            at += len(logits)
        counted += len(window) - 1
        if (number + 1) % 10 == 0 or number + 1 == len(windows):
            say(f"{number + 1} of {len(windows)} windows: {math.exp(total / counted):.4f}")
    return math.exp(total / counted)


def _measure(name: str, folder: Path, scratch: Path, windows: Sequence[list[int]]) -> Score:
    def say(line: str) -> None:
        print(f"{name}: {line}", file=sys.stderr, flush=True)

    say("load")
    open_reader = _open_transformers if name.startswith("transformers") else _open_ours
    dtype = name.partition(" ")[2] or "auto"
    runs_on, read = open_reader(folder, dtype, scratch)
    began = time.perf_counter()
    found = perplexity(read, windows, say)
    tokens = sum(len(window) - 1 for window in windows)
    return Score(runs_on, found, tokens, time.perf_counter() - began)


def _open_ours(folder: Path, dtype: str, _scratch: Path) -> tuple[str, Reader]:
    settings = load_settings().model_copy(update={"dtype": dtype, "device": "cpu"})
    backend = open_backend(folder, settings)

    def read(window: list[int]) -> Iterator[Tensor]:
        cache = backend.new_cache(len(window))
        for at in range(0, len(window), backend.chunk):
            rows = Rows.sequence(window[at : at + backend.chunk], at)
            reads = range(len(rows.tokens))
            yield backend.forward(rows, [cache], reads, None, torch.get_num_threads())

    return backend.name, read


def _open_transformers(folder: Path, dtype: str, scratch: Path) -> tuple[str, Reader]:
    import transformers

    path = scratch / "float32"
    if not path.exists():
        write_floats(folder, path, "float32")
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    model.train(False)

    def read(window: list[int]) -> Iterator[Tensor]:
        with torch.inference_mode():
            yield model(input_ids=torch.tensor([window]), use_cache=False).logits[0]

    return f"transformers {transformers.__version__}", read


def _tokens(folder: Path, text: str) -> list[int]:
    vocabulary = int(open_checkpoint(folder).config["vocab_size"])
    return TextTokenizer(folder, vocabulary).encode(text, marks=False)


def _changes(scores: dict[str, Score]) -> Iterator[tuple[str, float]]:
    """Each contender's perplexity against the reference's, as a fraction."""
    if REFERENCE in scores:
        for name, score in scores.items():
            yield name, score.perplexity / scores[REFERENCE].perplexity - 1


def _rows(scores: dict[str, Score]) -> Iterator[list[str]]:
    changes = dict(_changes(scores))
    for name, score in scores.items():
        change = f"{changes[name]:+.4%}" if name in changes else ""
        yield [name, score.runs_on, f"{score.perplexity:.4f}", change]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.perplexity",
        description="Perplexity of the model core and of transformers on the same weights.",
    )
    parser.add_argument("text", type=Path, help="a folder with test.txt, or a UTF-8 text file")
    parser.add_argument("--model", default=CHAT)
    parser.add_argument("--window", type=int, default=1024, help="tokens")
    parser.add_argument("--windows", type=int, help="how many; all where it is not given")
    parser.add_argument("--threads", type=int, default=core_count())
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
