"""sentence-transformers as a contender for embeddings.

Needs the package sentence-transformers.
"""

import time
from typing import Any

import numpy as np
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer

from llm_core.bench.worker import Result, peak_memory, serve

_loaded: dict[str, Any] = {}


def load(path: str, dtype: str, threads: int) -> Result:
    """Load a folder of safetensors."""
    torch.set_num_threads(threads)
    model = SentenceTransformer(path, device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})
    model.max_seq_length = 256  # what ours reads of a text
    _loaded["model"] = model
    return about()


def about() -> Result:
    """Versions of the packages."""
    return {"sentence-transformers": sentence_transformers.__version__, "torch": torch.__version__}


def embed(texts: list[str], out: str | None = None) -> Result:
    """Vectors of length one (N, D), saved in float32 where `out` names a file."""
    began = time.perf_counter()
    vectors = _loaded["model"].encode(
        texts, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False
    )
    array = vectors.float().numpy()
    seconds = time.perf_counter() - began
    if out is not None:
        np.save(out, array)
    return {"seconds": seconds}


def main() -> None:
    """Serve until the parent is done."""
    serve({"load": load, "about": about, "embed": embed, "memory": peak_memory})
