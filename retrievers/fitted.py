"""The figures a search uses that were fitted beforehand, with what they were fitted on.

`python -m graphs.fit_search` writes them to `retrievers/data/search.json`.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def fitted_search() -> Mapping[str, Any]:
    """`choice` (weights of the stages), `relevance` (chances), `figures`, `fitted_on`."""
    text = (files("retrievers") / "data" / "search.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found
