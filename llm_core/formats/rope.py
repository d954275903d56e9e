"""Rotary positions of a GGUF file, as `rope_parameters` of config.json names them."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_core.formats.gguf import shown

if TYPE_CHECKING:
    from llm_core.formats.layout import Keys

# How Llama 3.1 and later stretch their positions; only the factor differs between models.
_LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_FREQUENCIES = "rope_freqs.weight"
_CLOSE = 1e-3  # relative: the factors are stored rounded to float32


def rope_parameters(keys: "Keys") -> dict[str, Any]:
    """The kind of rotary positions with its numbers; raises `ModelFileError` for others."""
    theta = keys.real("rope.freq_base", 10000.0)
    kind = keys.own("rope.scaling.type", "none")
    if _FREQUENCIES in keys.file.tensors:
        if kind != "none":
            keys.refuse(f"scales its rotary positions twice ({shown(kind)} and {_FREQUENCIES})")
        return {"rope_theta": theta, **_llama3(keys, theta)}
    if kind == "none":
        return {"rope_theta": theta, "rope_type": "default"}
    if kind not in ("linear", "yarn"):
        keys.refuse(f"scales its rotary positions in the way {shown(kind)}; known: linear, yarn")
    for name in ("attn_factor", "yarn_attn_factor", "yarn_ext_factor"):
        if keys.own(f"rope.scaling.{name}", 1.0) != 1.0:
            keys.refuse(f"has {keys.architecture}.rope.scaling.{name}, which is not known")
    scaling: dict[str, Any] = {"factor": keys.real("rope.scaling.factor")}
    if kind == "yarn":
        length = keys.whole("rope.scaling.original_context_length")
        scaling["original_max_position_embeddings"] = length
        for ours, theirs in (("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")):
            if keys.own(f"rope.scaling.{theirs}") is not None:
                scaling[ours] = keys.real(f"rope.scaling.{theirs}")
    return {"rope_theta": theta, "rope_type": kind, **scaling}


def _llama3(keys: "Keys", theta: float) -> dict[str, Any]:
    """The file stores only the factor of every frequency: find the numbers they come from."""
    stored = keys.file.values(_FREQUENCIES).reshape(-1).astype(np.float64)
    found = {"factor": float(f"{stored.max():.6g}"), **_LLAMA3}
    made = llama3_factors(found, theta, 2 * stored.size)
    if not np.allclose(made, stored, rtol=_CLOSE):
        keys.refuse("scales its rotary positions otherwise than Llama 3 does")
    return {"rope_type": "llama3", **found}


def llama3_factors(numbers: dict[str, Any], theta: float, size: int) -> "np.ndarray[Any, Any]":
    """What every rotary frequency is divided by, (size / 2,) float64, for heads of `size`.

    Long waves are stretched by the factor, short ones stay, and those between are blended
    (the reference code of Llama 3.1).
    """
    waves = 2 * math.pi * theta ** (np.arange(0, size, 2) / size)
    low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
    length, factor = numbers["original_max_position_embeddings"], numbers["factor"]
    blend = np.clip((length / waves - low) / (high - low), 0.0, 1.0)
    return np.asarray(1 / ((1 - blend) / factor + blend))
