"""`convert`: a model as safetensors or as a GGUF file."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

Source = Annotated[
    str, typer.Argument(help="A default model, a model folder or a .gguf file.", metavar="SOURCE")
]
Target = Annotated[
    Path,
    typer.Argument(
        help="What to write: a file ending with .gguf, or a new folder.", metavar="TARGET"
    ),
]
To = Annotated[
    Literal["safetensors", "gguf"] | None,
    typer.Option("--to", help="The format; by default what TARGET's ending says."),
]
Dtype = Annotated[
    Literal["float32", "float16", "bfloat16"] | None,
    typer.Option(
        "--dtype", help="The numbers; by default as stored (bfloat16 for quantised ones)."
    ),
]


def convert(source: Source, target: Target, to: To = None, dtype: Dtype = None) -> None:
    """Write a model in another format: a folder with safetensors, or a GGUF file.

    Without --dtype a GGUF file keeps the stored numbers, quantised ones too. `quantize`
    makes the weights smaller.
    """
    from llm_core.convert import DTYPES, is_gguf
    from llm_core.convert import convert as write
    from llm_core.errors import ModelError

    if to is not None and (to == "gguf") is not is_gguf(target):
        wanted = "a file that ends with .gguf" if to == "gguf" else "a folder, not a .gguf file"
        raise ModelError(f"--to {to} writes {wanted}; {target} is not that")
    write(weights_of(source), target, None if dtype is None else DTYPES[dtype], show_progress)
    print(summary(target))


def weights_of(name: str) -> Path:
    """The .gguf file of that path, or the folder of the model of that name."""
    from llm_core.convert import is_gguf
    from llm_core.loading import resolve

    path = Path(name).expanduser()
    return path if is_gguf(path) and path.is_file() else resolve(name)


def show_progress(what: str, done: int, total: int) -> None:
    """Keep one line on a terminal that says which tensor is being written."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r\x1b[K{done}/{total} {what}", end=end, file=sys.stderr, flush=True)


def summary(target: Path) -> str:
    """One line on what was written: parameters, number formats, bytes."""
    import math
    from collections import Counter

    from llm_core.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(target)
    kinds: Counter[str] = Counter()
    for name in checkpoint.names:
        kinds[checkpoint.kind(name)] += math.prod(checkpoint.shape(name))
    files = [target] if target.is_file() else [path for path in target.iterdir() if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    shares = ", ".join(f"{count:,} in {kind}" for kind, count in kinds.most_common())
    return f"{target}: {size / 1e6:.1f} MB, {sum(kinds.values()):,} parameters ({shares})"
