"""A contender without a model: it answers at once with times that it was told."""

import os
import time
from typing import Any

import numpy as np

from llm_core.bench.worker import Result, peak_memory, serve

_told: dict[str, Any] = {}


def load(**told: Any) -> Result:
    _told.update(told)
    print("a library says hello on stdout")
    return {}


def speed(prompt: list[int], generate: int, adapter: str | None = None) -> Result:
    slower = 2.0 if adapter else 1.0
    return {
        "first": _told.get("first", 0.5),
        "rest": _told.get("token", 0.1) * slower * (generate - 1),
        "tokens": prompt[:generate],
    }


def prefix(shared: list[int], tail: list[int], other: list[int]) -> Result:
    return {"cold": (len(shared) + len(tail)) / 100, "warm": len(other) / 100}


def queue(prompts: list[list[int]], generate: int, at_once_first: bool) -> Result:
    return {"in_turn": float(len(prompts)), "at_once": len(prompts) / (2 - at_once_first)}


def logits(tokens: list[int], out: str) -> Result:
    row = np.array(_told["logits"], dtype=np.float32)
    np.save(out, np.tile(row, (len(tokens), 1)))
    return {}


def embed(texts: list[str], out: str | None = None) -> Result:
    if out is not None:
        np.save(out, np.tile(np.array(_told["vector"], dtype=np.float32), (len(texts), 1)))
    return {"seconds": _told["seconds"]}


def work(seconds: float) -> Result:
    end = time.process_time() + seconds
    while time.process_time() < end:
        continue
    return {}


def fail() -> Result:
    raise ValueError("this was\nto be expected")


def vanish() -> Result:
    os.write(2, b"the last words\n")
    os._exit(3)


def main() -> None:
    serve(
        {
            "load": load,
            "speed": speed,
            "prefix": prefix,
            "queue": queue,
            "logits": logits,
            "embed": embed,
            "work": work,
            "fail": fail,
            "vanish": vanish,
            "memory": peak_memory,
        }
    )
