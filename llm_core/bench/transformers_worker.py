"""transformers as a contender: `generate` of AutoModelForCausalLM, as its users call it.

Needs the packages torch and transformers.
"""

from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM
from transformers.generation.streamers import BaseStreamer

from llm_core.bench.worker import Clock, Result, peak_memory, serve

_loaded: dict[str, Any] = {}


class _Ticker(BaseStreamer):  # type: ignore[no-untyped-call, misc, unused-ignore] # untyped base
    """Ticks a clock for each token that `generate` makes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._prompt_seen = False

    def put(self, value: Any) -> None:  # noqa: ARG002 - only when it comes counts
        """`generate` gives the prompt first, then one token at a time."""
        if self._prompt_seen:
            self.clock.tick()
        self._prompt_seen = True

    def end(self) -> None:
        """Nothing is left to do."""


def load(path: str, dtype: str, threads: int) -> Result:
    """Load a folder of safetensors."""
    torch.set_num_threads(threads)
    _loaded["model"] = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    return about()


def about() -> Result:
    """Versions of the packages."""
    return {"transformers": transformers.__version__, "torch": torch.__version__}


@torch.inference_mode()
def speed(prompt: list[int], generate: int) -> Result:
    """Greedy tokens after a prompt that was not seen before, timed one by one."""
    ids = torch.tensor([prompt])
    ticker = _Ticker()
    out = _loaded["model"].generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=generate,
        min_new_tokens=generate,
        do_sample=False,
        streamer=ticker,
    )
    return ticker.clock.result(out[0, len(prompt) :].tolist())


@torch.inference_mode()
def logits(tokens: list[int], out: str) -> Result:
    """Save the logits (T, V) in float32 after each of `tokens`."""
    found = _loaded["model"](input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    np.save(out, found.float().numpy())
    return {}


def main() -> None:
    """Serve until the parent is done."""
    serve(
        {
            "load": load,
            "about": about,
            "speed": speed,
            "logits": logits,
            "memory": peak_memory,
        }
    )
