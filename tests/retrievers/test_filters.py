"""Filters on metadata: what each operator means, and what a wrong filter is told."""

from typing import Any

import pytest

from retrievers.errors import RetrievalError
from retrievers.filters import FilterError, canonical, check_where, matches

REPORT: dict[str, Any] = {
    "source": "report.pdf",
    "year": 2023,
    "page": 12,
    "score": 0.5,
    "draft": False,
    "section": ["a", "b"],
}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"year": 2023}, True),
        ({"year": 2023.0}, True),
        ({"year": "2023"}, False),
        ({"year": {"$ne": 2023}}, False),
        ({"year": {"$gte": 2020, "$lt": 2024}}, True),
        ({"year": {"$gte": 2020, "$lt": 2023}}, False),
        ({"year": {"$gt": 2022.5}}, True),
        ({"year": {"$lte": 2022}}, False),
        ({"source": {"$in": ["a.pdf", "report.pdf"]}}, True),
        ({"source": {"$nin": ["a.pdf", "report.pdf"]}}, False),
        ({"source": {"$gt": 3}}, False),
        ({"draft": False}, True),
        ({"page": {"$in": ["12", 12]}}, True),
        ({"page": {"$nin": ["12", 12]}}, False),
        ({"draft": 0}, False),
        ({"page": True}, False),
        ({"missing": 1}, False),
        ({"missing": {"$gt": 1}}, False),
        ({"missing": {"$ne": 1}}, True),
        ({"missing": {"$nin": [1]}}, True),
        ({"section": {"$ne": "a"}}, True),
        ({"year": 2023, "page": 13}, False),
        ({"$and": [{"year": 2023}, {"page": 12}]}, True),
        ({"$or": [{"year": 1}, {"page": 12}]}, True),
        ({"$or": [{"year": 1}, {"page": 1}], "source": "report.pdf"}, False),
        ({"$and": [{"$or": [{"year": 1}, {"page": 12}]}, {"draft": False}]}, True),
    ],
)
def test_a_filter_says_what_it_means(where: dict[str, Any], expected: bool) -> None:
    check_where(where)
    assert matches(REPORT, where) is expected
    assert matches(REPORT, canonical(where)) is expected


def test_the_canonical_form_has_one_thing_in_each_mapping() -> None:
    where = {"year": {"$gte": 2020, "$lt": 2024}, "$or": [{"page": 1}], "draft": False}
    assert canonical(where) == {
        "$and": [
            {"year": {"$gte": 2020}},
            {"year": {"$lt": 2024}},
            {"page": {"$eq": 1}},
            {"draft": {"$eq": False}},
        ]
    }


def test_a_list_of_several_types_becomes_a_list_for_each() -> None:
    assert canonical({"page": {"$in": [1, "1", 2]}}) == {
        "$or": [{"page": {"$in": [1, 2]}}, {"page": {"$in": ["1"]}}]
    }
    assert canonical({"page": {"$nin": [1, 2.5]}}) == {
        "$and": [{"page": {"$nin": [1]}}, {"page": {"$nin": [2.5]}}]
    }


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({}, "not a mapping of fields"),
        ("year", "not a mapping of fields"),
        ({"year": {}}, "'year' is empty"),
        ({"year": {"$near": 3}}, r"no operator '\$near'.*\$gte"),
        ({"year": {"$gt": "2020"}}, r"\$gt.*'year' takes a number, not '2020'"),
        ({"year": {"$gt": True}}, "takes a number"),
        ({"year": None}, "takes text"),
        ({"year": [1, 2]}, "takes text"),
        ({"year": float("nan")}, "takes text"),
        ({"year": {"$in": 3}}, "takes a list, not 3"),
        ({"year": {"$in": []}}, "takes a list"),
        ({"year": {"$in": "abc"}}, "takes a list"),
        ({"year": {"$in": [None]}}, "takes text"),
        ({"$not": [{"a": 1}]}, "cannot begin with '\\$not'"),
        ({3: 4}, "cannot begin with 3"),
        ({"$and": []}, "list of filters"),
        ({"$or": {"a": 1}}, "list of filters"),
        ({"$or": [{}]}, "not a mapping"),
    ],
)
def test_a_wrong_filter_is_told_in_one_line(where: Any, said: str) -> None:
    with pytest.raises(FilterError, match=said) as caught:
        check_where(where)
    assert isinstance(caught.value, RetrievalError) and "\n" not in str(caught.value)
