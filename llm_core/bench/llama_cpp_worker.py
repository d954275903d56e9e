"""llama.cpp as a contender, through its C functions: no sampler chain, no copies in Python.

Needs the package llama-cpp-python.
"""

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from llm_core.bench.worker import Clock, Result, peak_memory, serve


class _Model:
    """One GGUF file in memory with one context of `window` tokens."""

    def __init__(self, path: str, window: int, threads: int, flash: bool) -> None:
        self._llama = llama_cpp.Llama(
            model_path=path,
            n_ctx=window,
            n_batch=512,  # llama.cpp's own defaults for both
            n_ubatch=512,
            n_threads=threads,
            n_threads_batch=threads,
            flash_attn=flash,
            verbose=False,
        )
        self._context = self._llama.ctx
        self._width = self._llama.n_vocab()
        self._batch = llama_cpp.llama_batch_init(512, 0, 1)

    def clear(self) -> None:
        """Forget every token."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)

    def read(self, tokens: Sequence[int], at: int, every: bool = False) -> Iterator[Any]:
        """Append tokens at position `at`; yields logits (n, V) of each piece of 512 tokens.

        Only the last token's logits are computed unless `every` asks for all.
        """
        for start in range(0, len(tokens), 512):
            piece = tokens[start : start + 512]
            last = start + len(piece) == len(tokens)
            self._decode(piece, at + start, every, last)
            if every or last:
                pointer = llama_cpp.llama_get_logits(self._context)
                shape = (len(piece) if every else 1, self._width)
                yield np.ctypeslib.as_array(pointer, shape=shape)

    def _decode(self, piece: Sequence[int], at: int, every: bool, last: bool) -> None:
        batch = self._batch
        batch.n_tokens = len(piece)
        for index, token in enumerate(piece):
            batch.token[index] = token
            batch.pos[index] = at + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = every or (last and index + 1 == len(piece))
        status = llama_cpp.llama_decode(self._context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")


_loaded: dict[str, _Model] = {}
_settings: dict[str, bool] = {}


def load(path: str, window: int, threads: int, flash: bool) -> Result:
    """Load one GGUF file."""
    _loaded["model"] = _Model(path, window, threads, flash)
    _settings["flash"] = flash
    return about()


def about() -> Result:
    """Version of the package, the settings, and the processor features it was compiled for."""
    found = llama_cpp.llama_print_system_info().decode().replace(" = 1", "").split("|")
    features = " ".join(part.strip().removeprefix("CPU : ") for part in found).strip()
    return {"llama-cpp-python": llama_cpp.__version__, **_settings, "features": features}


def speed(prompt: list[int], generate: int) -> Result:
    """Greedy tokens after a prompt that was not seen before, timed one by one."""
    model = _loaded["model"]
    model.clear()
    clock, made = Clock(), list[int]()
    feed, at = prompt, 0
    for _ in range(generate):
        (logits,) = model.read(feed, at)
        made.append(int(logits[0].argmax()))
        clock.tick()
        at += len(feed)
        feed = [made[-1]]
    return clock.result(made)


def prefix(shared: list[int], tail: list[int], other: list[int]) -> Result:
    """Seconds to the first token after shared + tail, cold, then after shared + other, warm."""
    model = _loaded["model"]
    cold = speed(shared + tail, 1)["first"]
    clock = Clock()
    memory = llama_cpp.llama_get_memory(model._context)
    llama_cpp.llama_memory_seq_rm(memory, 0, len(shared), -1)
    (logits,) = model.read(other, len(shared))
    token = int(logits[0].argmax())
    clock.tick()
    return {"cold": cold, "warm": clock.result([token])["first"]}


def logits(tokens: list[int], out: str) -> Result:
    """Save the logits (T, V) in float32 after each of `tokens`."""
    model = _loaded["model"]
    model.clear()
    np.save(out, np.concatenate([part.copy() for part in model.read(tokens, 0, every=True)]))
    return {}


def quantize(source: str, target: str, kind: str) -> Result:
    """Write `source` again as a GGUF file of another type, such as Q4_0 or Q8_0."""
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    options.allow_requantize = True
    status = llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(options))
    if status != 0:
        raise RuntimeError(f"llama_model_quantize returned {status}")
    return {"bytes": Path(target).stat().st_size}


def main() -> None:
    """Serve until the parent is done."""
    serve(
        {
            "load": load,
            "about": about,
            "speed": speed,
            "prefix": prefix,
            "logits": logits,
            "quantize": quantize,
            "memory": peak_memory,
        }
    )
