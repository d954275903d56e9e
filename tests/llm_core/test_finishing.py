"""Numbers with bounds: a way to finish is found wherever there is one, and replies keep them."""

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from llm_core.constrain import SchemaError, json_guide
from llm_core.engine import Engine
from llm_core.guides import GrammarGuide
from llm_core.limits import Bounds
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


RECORD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "more": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
        "kind": {"enum": ["person", "place"]},
    },
    "required": ["name", "age", "tags", "more", "kind"],
}


class CountedMatcher:
    """An llguidance matcher that counts the steps of its copies, and the tokens asked about."""

    def __init__(self, matcher: Any, steps: list[int], asked: list[int] | None = None) -> None:
        self._matcher = matcher
        self._steps = steps
        self._asked = [] if asked is None else asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._matcher, name)

    def deep_copy(self) -> "CountedMatcher":
        return CountedMatcher(self._matcher.deep_copy(), self._steps, self._asked)

    def consume_tokens(self, tokens: list[int]) -> bool:
        self._steps.append(len(tokens))
        return bool(self._matcher.consume_tokens(tokens))

    def validate_tokens(self, tokens: list[int]) -> int:
        self._asked.append(len(tokens))
        return int(self._matcher.validate_tokens(tokens))


def test_a_search_ends_where_it_meets_a_known_way(tiny):
    grammar = tiny.tokenizer.grammars.of_json(RECORD)
    finisher, matcher = tiny.tokenizer.grammars.finisher, grammar.matcher()
    known = finisher.shortest(matcher, 400)
    steps: list[int] = []
    matcher.consume_tokens(tiny.tokenizer.encode('{"name": "Ann", "age": 4', marks=False))
    counted = CountedMatcher(matcher, steps)
    afresh, long = finisher.shortest(counted, 400), len(steps)
    joined = finisher.shortest(counted, 400, known=known)
    assert joined == afresh and len(steps) - long <= 3 < long
    matcher.consume_tokens(tiny.tokenizer.encode(",", marks=False))
    forced, long = matcher.compute_ff_tokens(), len(steps)
    at_once = finisher.shortest(counted, 400, known=known, forced=forced)
    assert forced and at_once == afresh[1:] and len(steps) == long
    text = tiny.tokenizer.decode(joined)
    assert json.loads('{"name": "Ann", "age": 4' + text)["age"] == 4


def test_a_known_way_that_does_not_serve_is_left(tiny):
    matcher = tiny.tokenizer.grammars.of_json(RECORD).matcher()
    finisher = tiny.tokenizer.grammars.finisher
    matcher.consume_tokens(tiny.tokenizer.encode('{"name": "Ann', marks=False))
    other = tiny.tokenizer.encode('{"name": "", "age": "no number", "kind": 3}', marks=False)
    assert finisher.shortest(matcher, 400, known=other) == finisher.shortest(matcher, 400)


def test_a_known_way_of_many_places_that_do_not_serve_costs_little(tiny):
    least = 60
    item = {"type": "object", "properties": {"aa": {"type": "string"}}, "required": ["aa"]}
    many = {"type": "array", "items": item, "minItems": least}
    schema = {"type": "object", "properties": {"opt": many, "must": many}, "required": ["must"]}
    matcher = tiny.tokenizer.grammars.of_json(schema, forms=["open"]).matcher()
    items = ", ".join(['{"aa": ""}'] * least)
    known = tiny.tokenizer.encode(f'{{"must": [{items}]}}', marks=False)
    assert matcher.validate_tokens(known) == len(known)
    matcher.consume_tokens(tiny.tokenizer.encode('{"opt": [{"aa": "x', marks=False))
    asked: list[int] = []
    counted = CountedMatcher(matcher, [], asked)
    way = tiny.tokenizer.grammars.finisher.shortest(counted, 4000, known=known)
    assert way is not None and matcher.validate_tokens(way) == len(way)
    assert sum(asked) < 50 * len(known)


def written(tiny: Engine, schema: dict[str, Any], budget: int, seed: int, *, known: bool) -> Any:
    """The tokens of a reply of random choices."""
    grammars = tiny.tokenizer.grammars
    guide = json_guide(schema, tiny.tokenizer, budget)
    if not known:

        def afresh(
            matcher: Any, left: int, *, known: Sequence[int] = (), forced: Sequence[int] = ()
        ) -> list[int] | None:
            return grammars.finisher.shortest(matcher, left)

        matcher = grammars.of_json(schema).matcher()
        path = afresh(matcher, budget)
        assert path is not None
        limits = (grammars.limits, Bounds.of(schema))
        guide = GrammarGuide(matcher, tiny.tokenizer, afresh, path, budget, limits)
    rng = np.random.default_rng(seed)
    tokens = guide.forced()
    while not guide.done():
        token = guide.accept(int(rng.choice(np.flatnonzero(guide.mask().array()))))
        tokens = [*tokens, token, *guide.forced()]
    return tokens


@pytest.mark.parametrize("seed", range(12))
def test_replies_are_those_of_searches_without_a_known_way(tiny, seed):
    for budget in (90, 130, 300):
        afresh = written(tiny, RECORD, budget, seed, known=False)
        assert written(tiny, RECORD, budget, seed, known=True) == afresh
        assert len(afresh) <= budget
