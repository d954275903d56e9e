"""Numbers with bounds: a way to finish is found wherever there is one, and replies keep them."""

import json
import random
from typing import Any

import numpy as np
import pytest

from llm_core.constrain import SchemaError, json_guide
from llm_core.engine import Engine
from llm_core.sampling import Sampling
from llm_core.validation import violation

BOUNDS: list[dict[str, Any]] = [
    {"exclusiveMinimum": 0},
    {"exclusiveMaximum": 0},
    {"maximum": 0},
    {"minimum": 1},
    {"minimum": -5, "maximum": -3},
    {"exclusiveMaximum": -1.5},
    {"exclusiveMinimum": 100},
    {"multipleOf": 7, "minimum": 3},
    {"multipleOf": 5},
]
FRACTIONS: list[dict[str, Any]] = [
    {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"exclusiveMinimum": 0, "maximum": 1},
    {"exclusiveMinimum": -1, "exclusiveMaximum": 0},
    {"exclusiveMinimum": 5, "exclusiveMaximum": 6},
    {"exclusiveMinimum": 0.0001, "maximum": 0.0002},
    {"exclusiveMinimum": -1, "exclusiveMaximum": -0.999},
    {"multipleOf": 0.01, "exclusiveMinimum": 0},
]


def placed(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """A schema alone, in an object and in an array."""
    return [
        schema,
        {"type": "object", "properties": {"p": schema}, "required": ["p"]},
        {"type": "array", "items": schema, "minItems": 2},
    ]


def write(engine: Engine, schema: dict[str, Any], budget: int, seed: int) -> Any:
    guide = json_guide(schema, engine.tokenizer, budget)
    reply = engine.generate_batch(
        [engine.tokenizer.encode("x")],
        max_tokens=budget,
        sampling=[Sampling(temperature=1.5, seed=seed)],
        stop_ids=engine.tokenizer.end_ids,
        guides=[guide],
    )[0]
    assert reply.finish == "stop"
    return json.loads(engine.tokenizer.decode([step.token for step in reply.steps]))


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_whole_numbers_within_bounds_are_written(tiny, bounds):
    for schema in placed({"type": "integer", **bounds}):
        assert violation(write(tiny, schema, 40, 1), schema) is None


@pytest.mark.parametrize("bounds", BOUNDS + FRACTIONS, ids=str)
def test_numbers_within_bounds_are_written(tiny, bounds):
    for schema in placed({"type": "number", **bounds}):
        for form in (schema, {"anyOf": [schema, schema]}):
            assert violation(write(tiny, form, 40, 2), schema) is None


@pytest.mark.parametrize("seed", range(60))
def test_no_random_range_is_refused(tiny, seed):
    rng = random.Random(seed)
    scale = 10.0 ** rng.randint(-4, 4)
    low = round(rng.uniform(-9, 9) * scale, 5)
    bounds = {rng.choice(["minimum", "exclusiveMinimum"]): low}
    if rng.random() < 0.7:
        upper = round(low + max(1e-4, rng.random() * scale), 5)
        bounds[rng.choice(["maximum", "exclusiveMaximum"])] = upper
    schema = rng.choice(placed({"type": "number", **bounds}))
    for budget in (30, 200):
        assert violation(write(tiny, schema, budget, seed), schema) is None


def test_a_reply_of_zeros_goes_on_to_a_number_that_is_allowed(tiny):
    guide = json_guide({"type": "number", "exclusiveMinimum": 0}, tiny.tokenizer, 60)
    for token in tiny.tokenizer.encode("0.000000000"):
        assert guide.mask().allows(token)
        guide.accept(token)
    pieces = [tiny.tokenizer.pieces[token] for token in np.flatnonzero(guide.mask().array())]
    assert b"1" in pieces and not any(piece.startswith((b"0", b"e")) for piece in pieces)
    guide.accept(tiny.tokenizer.by_piece[b"1"])
    assert not guide.mask().allows(tiny.tokenizer.by_piece[b"1"])


def test_a_range_without_numbers_is_refused(tiny):
    with pytest.raises(SchemaError):
        json_guide({"type": "number", "minimum": 2, "maximum": 1}, tiny.tokenizer, 60)
