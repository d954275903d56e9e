"""What several commands are told in the same way: the model, and how it runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_core.catalogue import CHAT

if TYPE_CHECKING:
    from llm_core.engine import Engine

Model = Annotated[
    str,
    typer.Option("--model", "-m", help="Default model, folder, .gguf file or local:OWNER/NAME."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads that the model uses.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DEFAULT_MODEL = CHAT


def text_of(given: str) -> str:
    """The text itself, or standard input where it is "-"."""
    return sys.stdin.read() if given == "-" else given


def open_model(model: str, threads: int | None) -> "Engine":
    """The engine of a model, by the person's settings."""
    from llm_core.engine import open_engine
    from llm_core.loading import resolve
    from llm_core.settings import load_settings

    settings = load_settings()
    folder: Path = resolve(model, settings.cache_dir)
    return open_engine(folder, settings.dtype, threads or settings.threads)
