"""Columns of metadata answer a filter as the filter itself does."""

import random
from typing import Any

from retrievers.columns import Columns
from retrievers.filters import holds, parse_where

VALUES: list[Any] = [1, 1.0, True, False, 0, "1", "b", 2.5, None, ["b"], {"x": 1}]
OPERANDS: list[Any] = [1, True, 0, "1", "b", 2.5]


def some_metadata(rng: random.Random) -> dict[str, Any]:
    return {key: rng.choice(VALUES) for key in "xyz" if rng.random() < 0.8}


def some_filter(rng: random.Random, depth: int = 2) -> dict[str, Any]:
    if depth and rng.random() < 0.4:
        parts = [some_filter(rng, depth - 1) for _ in range(rng.randint(1, 3))]
        return {rng.choice(["$and", "$or"]): parts}
    name = rng.choice(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"])
    if name in ("$in", "$nin"):
        return {rng.choice("xyz"): {name: rng.sample(OPERANDS, 2)}}
    numbers = [1, 0, 2.5]
    return {rng.choice("xyz"): {name: rng.choice(numbers if "t" in name else OPERANDS)}}


def test_random_filters_over_random_metadata() -> None:
    rng = random.Random(3)
    held: list[dict[str, Any]] = []
    columns = Columns(lambda start: enumerate(held[start:], start))
    for _ in range(60):
        held += [some_metadata(rng) for _ in range(rng.randint(0, 9))]
        for _ in range(20):
            condition = parse_where(some_filter(rng))
            expected = [holds(condition, metadata) for metadata in held]
            assert columns.mask(condition, len(held)).tolist() == expected


def test_fields_are_read_once_and_only_when_asked_for() -> None:
    scans: list[int] = []

    def scan(start: int) -> Any:
        scans.append(start)
        return enumerate([{"x": 1, "y": 2}, {"x": 2}])

    columns = Columns(scan)
    assert columns.mask(parse_where({"x": 1}), 2).tolist() == [True, False]
    assert columns.mask(parse_where({"x": {"$gt": 1}}), 2).tolist() == [False, True]
    assert len(scans) == 1
    assert columns.mask(parse_where({"x": 1, "y": 2}), 2).tolist() == [True, False]
    assert len(scans) == 2
    columns.clear()
    assert columns.mask(parse_where({"x": 2}), 2).tolist() == [False, True]
    assert len(scans) == 3
