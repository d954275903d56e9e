"""Our own sentence embeddings as a contender."""

import time
from typing import Any, Literal

import numpy as np

from llm_core.bench.worker import Result, peak_memory, serve
from llm_core.embeddings import LocalEmbeddings

_loaded: dict[str, Any] = {}


def load(model: str, dtype: Literal["auto", "float32"], threads: int) -> Result:
    """Load the model; `auto` is what users get."""
    embeddings = LocalEmbeddings(model, threads=threads, dtype=dtype)
    embeddings.embed_query("ready")
    _loaded["model"] = embeddings
    return {}


def embed(texts: list[str], out: str | None = None) -> Result:
    """Vectors of length one (N, D), saved in float32 where `out` names a file."""
    began = time.perf_counter()
    array = _loaded["model"].embed_array(texts)
    seconds = time.perf_counter() - began
    if out is not None:
        np.save(out, array)
    return {"seconds": seconds}


def main() -> None:
    """Serve until the parent is done."""
    serve({"load": load, "embed": embed, "memory": peak_memory})
