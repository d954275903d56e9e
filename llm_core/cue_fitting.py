"""Fit which optional arguments a call gives, on labelled calls.

The weights are those of a ridge-penalised logistic regression over the signs of
`llm_core.cue_signs`. An argument is needed from the score on above which nine in ten are given,
as measured on folds that were not fitted on. Switches (booleans) are too rare in such data to
be weighed.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.cue_signs import SIGNS, Request
from llm_core.cues import UNWEIGHED
from llm_core.errors import ModelError
from llm_core.tool_examples import Example
from llm_core.tool_fitting import area, logistic

Floats = NDArray[np.float64]
_FOLDS = 5
_SURE = 0.9  # share of given arguments from which on one is needed


@dataclass(frozen=True)
class Cue:
    """An optional argument of the call with this number, its signs, and whether it was given."""

    call: int
    source: str
    signs: list[float]
    given: bool


def cues_of(examples: Sequence[Example], limit: int, seed: int) -> Iterator[Cue]:
    """The optional arguments of at most `limit` calls of each file, drawn by the seed.

    A given default tells nothing and is passed over.
    """
    number = 0
    for source in sorted({one.source for one in examples}):
        mine = [one for one in examples if one.source == source and _tells(one)]
        random.Random(f"{seed} {source}").shuffle(mine)
        for example in mine[:limit]:
            number += 1
            name, given = example.calls[0]
            tool = next(tool for tool in example.tools if tool.name == name)
            said = (t.text for t in example.turns if t.role == "user" and not t.from_tool)
            request = Request("\n".join(said), tool.parameters)
            for key, part in tool.parameters["properties"].items():
                free = key not in tool.parameters.get("required", ())
                usual = key in given and "default" in part and given[key] == part["default"]
                if free and not usual and part.get("type") not in UNWEIGHED:
                    yield Cue(number, source, request.signs(key, part), key in given)


def _tells(example: Example) -> bool:
    last = example.turns[-1] if example.turns else None
    if last is None or last.role != "user" or last.from_tool or not example.calls:
        return False
    return example.calls[0][0] in {tool.name for tool in example.tools}


def fit_cues(cues: Sequence[Cue], seed: int) -> dict[str, Any]:
    """The file of weights; raises ModelError where the calls do not tell."""
    signs = np.array([cue.signs for cue in cues], dtype=np.float64)
    given = np.array([cue.given for cue in cues], dtype=bool)
    if not 0 < given.sum() < len(given):
        raise ModelError("fitting cues needs optional arguments, some given and some not")
    calls = np.array([cue.call for cue in cues])
    weights, bias = _weights(signs, given)
    held_out = np.empty(len(cues))
    for fold in range(_FOLDS):
        inside = calls % _FOLDS != fold
        some, constant = _weights(signs[inside], given[inside])
        held_out[~inside] = signs[~inside] @ some + constant
    needed = _sure(held_out, given)
    return {
        "fitted": date.today().isoformat(),
        "seed": seed,
        "arguments": {
            source: sum(cue.source == source for cue in cues)
            for source in sorted({cue.source for cue in cues})
        },
        "weights": {name: round(float(w), 4) for name, w in zip(SIGNS, weights, strict=True)},
        "bias": round(bias, 4),
        "needed": round(needed, 4),
        "needed_of_all": round(float((held_out >= needed).mean()), 4),
        "area": round(area(held_out, given), 4),
    }


def _weights(signs: Floats, given: NDArray[np.bool_]) -> tuple[Floats, float]:
    centre, spread = signs.mean(axis=0), signs.std(axis=0) + 1e-9
    solved = logistic(np.c_[(signs - centre) / spread, np.ones(len(signs))], given)
    scaled = solved[:-1] / spread
    return scaled, float(solved[-1] - scaled @ centre)


def _sure(scores: Floats, given: NDArray[np.bool_]) -> float:
    """The lowest score above which nearly all are given, the highest where that is nowhere."""
    order = np.argsort(-scores)
    shares = np.cumsum(given[order]) / np.arange(1, len(order) + 1)
    sure = np.flatnonzero(shares >= _SURE)
    return float(scores[order[sure[-1] if len(sure) else 0]])
