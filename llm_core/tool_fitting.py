"""Fit how the signs of a wanted call are weighed, on labelled conversations.

The weights are those of a ridge-penalised logistic regression; the threshold is where the
share of kept calls and that of rightly refused ones have the highest mean. Besides the labelled
turns, each file's calls are shown once with tools of other rows, where no call is right: the
request that fits no tool is rare in dialogues and common in life.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.prompt import Turn
from llm_core.tool_choice import SIGNS, UNSEEN, Signs
from llm_core.tool_examples import Example
from llm_core.toolcalls import ToolSpec

Floats = NDArray[np.float64]
_RIDGE = 1.0  # on standardised signs
_ROUNDS = 30  # of Newton's method; it has settled long before
_FOLDS = 5
_OTHERS = (1, 1, 2, 3, 4)  # how many tools of other rows are offered


@dataclass(frozen=True)
class Case:
    """The signs of one turn, and whether a call was right there."""

    source: str
    signs: Signs
    wanted: bool


@dataclass(frozen=True)
class Fit:
    """Weights by sign, and how they did on folds that they were not fitted on."""

    weights: dict[str, float]
    bias: float
    threshold: float
    auc: float
    kept: float
    refused: float

    def row(self) -> dict[str, Any]:
        """The fit as JSON values."""
        return {
            "weights": {name: round(value, 4) for name, value in self.weights.items()},
            "bias": round(self.bias, 4),
            "threshold": round(self.threshold, 4),
            "auc": round(self.auc, 4),
            "calls_kept": round(self.kept, 4),
            "others_refused": round(self.refused, 4),
        }


def draw(examples: Sequence[Example], limit: int, seed: int) -> list[Example]:
    """At most `limit` examples of each file for each of: called, answered, strange tools.

    Only turns where a person spoke last are drawn.
    """
    usable = [one for one in examples if one.turns and _person(one)]
    drawn: list[Example] = []
    for source in sorted({one.source for one in usable}):
        chance = random.Random(f"{seed} {source}")
        mine = [one for one in usable if one.source == source]
        chance.shuffle(mine)
        called = [one for one in mine if one.calls and one.tools]
        others = [one for one in usable if one.tools and one.source == source]
        strange = [
            replace(one, tools=tools, calls=())
            for one in called[limit : 2 * limit] or called
            if (tools := _strange(one, others, chance))
        ]
        chat = [
            replace(one, tools=chance.choice(others).tools)
            for one in mine
            if not one.tools and others
        ]
        answered = [one for one in mine if one.tools and not one.calls]
        for group in (called, answered, strange, chat):
            drawn += group[:limit]
    return drawn


def _person(example: Example) -> bool:
    last = example.turns[-1]
    return last.role == "user" and not last.from_tool


def _strange(example: Example, others: Sequence[Example], chance: random.Random) -> tuple[Any, ...]:
    """Tools of other rows of the same file, none of them one that the example has."""
    known = {tool.name for tool in example.tools}
    found = {}
    for _ in range(chance.choice(_OTHERS)):
        tool = chance.choice(chance.choice(others).tools)
        if tool.name not in known:
            found[tool.name] = tool
    return tuple(found.values())


def fit(cases: Sequence[Case], *, embeddings: bool) -> Fit:
    """The weights of the cases' signs, with or without those that embeddings give."""
    names = SIGNS if embeddings else UNSEEN
    values = np.array(
        [[getattr(case.signs, name) for name in names] for case in cases], dtype=np.float64
    )
    wanted = np.array([case.wanted for case in cases])
    centre, spread = values.mean(axis=0), values.std(axis=0) + 1e-9
    inputs = np.c_[(values - centre) / spread, np.ones(len(values))]
    held_out = np.empty(len(values))
    folds = np.arange(len(values)) % _FOLDS
    for fold in range(_FOLDS):
        held_out[folds == fold] = inputs[folds == fold] @ logistic(
            inputs[folds != fold], wanted[folds != fold]
        )
    threshold = best_threshold(held_out, wanted)
    solved = logistic(inputs, wanted)
    scaled = solved[:-1] / spread
    return Fit(
        weights=dict(zip(names, map(float, scaled), strict=True)),
        bias=float(solved[-1] - scaled @ centre),
        threshold=threshold,
        auc=area(held_out, wanted),
        kept=float((held_out[wanted] >= threshold).mean()),
        refused=float((held_out[~wanted] < threshold).mean()),
    )


def logistic(inputs: Floats, wanted: NDArray[np.bool_]) -> Floats:
    """Weights (signs + 1) of standardised inputs, the last for the constant."""
    weights = np.zeros(inputs.shape[1])
    penalty = np.diag([_RIDGE] * (inputs.shape[1] - 1) + [1e-6])
    # Both classes count the same, however many there are of each.
    counts = np.where(wanted, 0.5 / wanted.mean(), 0.5 / (1 - wanted.mean()))
    for _ in range(_ROUNDS):
        found = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (counts * (found - wanted)) + penalty @ weights
        bend = inputs.T @ (inputs * (counts * found * (1 - found))[:, None]) + penalty
        weights -= np.linalg.solve(bend, slope)
    return weights


def area(scores: Floats, wanted: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a wanted call scores above another; ties half."""
    above, below = scores[wanted][:, None], scores[~wanted][None]
    return float((above > below).mean() + 0.5 * (above == below).mean())


def best_threshold(scores: Floats, wanted: NDArray[np.bool_]) -> float:
    """The score from which on to call: the best mean of calls kept and others refused."""
    edges = np.unique(scores)
    cuts = np.r_[edges[0], (edges[1:] + edges[:-1]) / 2]
    means = [(scores[wanted] >= cut).mean() + (scores[~wanted] < cut).mean() for cut in cuts]
    return float(cuts[int(np.argmax(means))])


def cases_of(
    examples: Sequence[Example], signs: Callable[[Sequence[Turn], Sequence[ToolSpec]], Signs]
) -> Iterator[Case]:
    """The examples with the signs of their conversations and tools."""
    for example in examples:
        found = signs(example.turns, example.tools)
        yield Case(example.source, found, bool(example.calls))
