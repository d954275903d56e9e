"""Our own engine as a contender."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_core.backend import Rows
from llm_core.bench.worker import Clock, Result, peak_memory, serve
from llm_core.engine import Engine
from llm_core.sampling import Sampling

if TYPE_CHECKING:
    from llm_core.adapters import Adapter

_loaded: dict[str, Any] = {}


def load(path: str, dtype: str, threads: int) -> Result:
    """Load a model folder."""
    _loaded["engine"] = Engine(Path(path), dtype, threads)
    return about()


def about() -> Result:
    """What runs the model."""
    import torch

    return {"backend": _loaded["engine"].backend.name, "torch": torch.__version__}


def speed(prompt: list[int], generate: int, adapter: str | None = None) -> Result:
    """Greedy tokens after a prompt that was not seen before, timed one by one."""
    engine: Engine = _loaded["engine"]
    engine.forget()
    chosen = _adapter(adapter)
    clock = Clock()
    return clock.result(_generate(prompt, generate, clock, chosen))


def prefix(shared: list[int], tail: list[int], other: list[int]) -> Result:
    """Seconds to the first token after shared + tail, cold, then after shared + other, warm."""
    cold = speed(shared + tail, 1)["first"]
    clock = Clock()
    made = _generate(shared + other, 1, clock)
    return {"cold": cold, "warm": clock.result(made)["first"]}


def queue(prompts: list[list[int]], generate: int, at_once_first: bool) -> Result:
    """Seconds for the prompts one after another, and for all of them asked for at once."""
    ways = {"in_turn": _in_turn, "at_once": _at_once}
    seconds = {}
    for name in sorted(ways, reverse=not at_once_first):
        _loaded["engine"].forget()
        clock = Clock()
        ways[name](prompts, generate)
        clock.tick()
        seconds[name] = clock.result([])["first"]
    return seconds


def logits(tokens: list[int], out: str) -> Result:
    """Save the logits (T, V) in float32 after each of `tokens`."""
    backend = _loaded["engine"].backend
    cache = backend.new_cache(len(tokens))
    rows = Rows.sequence(tokens, 0)
    found = backend.forward(rows, [cache], list(range(len(tokens))), None, None)
    np.save(out, found.numpy())
    return {}


def _generate(
    prompt: Sequence[int], count: int, clock: Clock, adapter: "Adapter | None" = None
) -> list[int]:
    """The plain loop: tokens guessed ahead would make the speed depend on the text."""
    engine: Engine = _loaded["engine"]
    made = []
    for step in engine.generate(
        prompt,
        max_tokens=count,
        sampling=Sampling(),
        stop_ids=(),
        adapter=adapter,
        logprobs=None,
        speculate=False,
    ):
        clock.tick()
        made.append(step.token)
    return made


def _in_turn(prompts: list[list[int]], generate: int) -> None:
    for prompt in prompts:
        _generate(prompt, generate, Clock())


def _at_once(prompts: list[list[int]], generate: int) -> None:
    callers = [
        threading.Thread(target=_generate, args=(prompt, generate, Clock())) for prompt in prompts
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


def _adapter(folder: str | None) -> "Adapter | None":
    if folder is None:
        return None
    if folder not in _loaded:
        from llm_core.adapters import load_adapter

        _loaded[folder] = load_adapter(Path(folder))
    adapter: Adapter = _loaded[folder]
    return adapter


def main() -> None:
    """Serve until the parent is done."""
    serve(
        {
            "load": load,
            "about": about,
            "speed": speed,
            "prefix": prefix,
            "queue": queue,
            "logits": logits,
            "memory": peak_memory,
        }
    )
