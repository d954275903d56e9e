"""`serve`: the models of this machine behind OpenAI's HTTP interface."""

import importlib.util
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from llm_core.catalogue import CHAT, EMBEDDINGS
from llm_core.commands.given import Threads
from llm_core.errors import ModelError

_PACKAGES = ("fastapi", "prometheus_client", "uvicorn")
_CHAT = f"Chat model to offer, the first one loaded at once. [{CHAT}]"
_EMBED = f"Embedding model to offer. [{EMBEDDINGS}, if it is here]"
_NAMED, _ADAPTER = "[NAME=]MODEL", "Adapter (PEFT) of the first chat model."
ChatModels = Annotated[list[str] | None, typer.Option("--model", "-m", metavar=_NAMED, help=_CHAT)]
EmbeddingModels = Annotated[
    list[str] | None, typer.Option("--embeddings", "-e", metavar=_NAMED, help=_EMBED)
]
Adapters = Annotated[
    list[str] | None, typer.Option("--adapter", metavar="[NAME=]FOLDER", help=_ADAPTER)
]
Host = Annotated[
    str | None,
    typer.Option("--host", help="Address; one that others reach needs a token. [127.0.0.1]"),
]
Port = Annotated[
    int | None, typer.Option("--port", "-p", min=0, max=65535, help="0: any free one. [8000]")
]
TokensFile = Annotated[
    Path | None,
    typer.Option("--tokens-file", metavar="PATH", help="Bearer tokens that may ask, one a line."),
]
Slots = Annotated[
    int | None, typer.Option("--slots", min=1, max=256, help="Requests worked on at once. [4]")
]
Queue = Annotated[
    int | None, typer.Option("--queue", min=0, help="Requests that may wait for that. [64]")
]
Rate = Annotated[
    float | None, typer.Option("--rate", help="Requests a second for each token. [no limit]")
]
Burst = Annotated[
    int | None, typer.Option("--burst", min=1, help="Requests at once before --rate counts. [20]")
]
MaxBody = Annotated[
    int | None, typer.Option("--max-body", min=1024, help="Most bytes of a request. [4194304]")
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", help="Most seconds for a request. [600]")
]
Drain = Annotated[
    float | None,
    typer.Option("--drain-s", min=0, help="Seconds that requests are given at the end. [30]"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Log no request that went well.")]


def serve(
    model: ChatModels = None,
    embeddings: EmbeddingModels = None,
    adapter: Adapters = None,
    host: Host = None,
    port: Port = None,
    tokens_file: TokensFile = None,
    slots: Slots = None,
    queue: Queue = None,
    rate: Rate = None,
    burst: Burst = None,
    max_body: MaxBody = None,
    timeout: Timeout = None,
    drain_s: Drain = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Serve chat completions, embeddings and models as OpenAI's clients expect them.

    Prints its URL when it takes requests, and one line of JSON a request to stderr. SIGTERM and
    Ctrl-C let the requests in work end first; twice ends at once. What is not given is taken
    from DEERSTALKER_SERVER_HOST and so on, tokens from DEERSTALKER_SERVER_TOKENS. --model,
    --embeddings and --adapter may be repeated; their NAME is what clients ask for.
    """
    _require_packages()
    from llm_core.server.metrics import Metrics
    from llm_core.server.offers import Wishes, offer, prepare
    from llm_core.server.running import run
    from llm_core.server.settings import load_server_settings
    from llm_core.settings import load_settings

    settings = load_server_settings(
        tokens_file,
        host=host,
        port=port,
        slots=slots,
        queue=queue,
        rate=rate,
        burst=burst,
        max_body=max_body,
        timeout=timeout,
        drain_s=drain_s,
    )
    wishes = Wishes(model or (), embeddings, adapter or ())
    metrics = Metrics()
    core = load_settings()
    if threads is not None:
        core = core.model_copy(update={"threads": threads})
    models = offer(wishes, core, metrics)
    code = run(models, settings, metrics, partial(prepare, models), quiet=quiet)
    if code:
        raise typer.Exit(code)


def _require_packages() -> None:
    """Raise ModelError, with the command that installs it, for a package that is missing."""
    for name in _PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise ModelError(f"the server needs {name}: pip install 'deerstalker[server]'")
