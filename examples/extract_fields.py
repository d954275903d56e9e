"""A page of a story becomes a typed object: structured output of the local model.

python examples/extract_fields.py [FILE]
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from llm_core import LocalChatModel

STORIES = Path(__file__).parents[1] / "samples" / "the-adventures-of-sherlock-holmes.txt"
FIRST, LAST = 1310, 1317  # the lines of the advertisement that Mr. Wilson answers


class Vacancy(BaseModel):
    """An offer of work."""

    league: str
    pounds_a_week: int = Field(ge=0)
    day: Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    clock: Literal["nine", "ten", "eleven", "twelve"]
    person: str
    street: str


def main(arguments: Sequence[str]) -> int:
    """Read the vacancy in a file, or in the story of the red-headed league."""
    if arguments:
        lines = Path(arguments[0]).read_text(encoding="utf-8").splitlines()
    else:
        lines = STORIES.read_text(encoding="utf-8").splitlines()[FIRST - 1 : LAST]
    page = " ".join(line.strip() for line in lines)
    model = LocalChatModel(max_tokens=160)
    reader = model.with_structured_output(Vacancy, copy_from=[page])  # prefers words of the page
    vacancy = reader.invoke(f"{page}\n\nExtract the facts of this advertisement.")
    for name, value in vacancy:
        print(f"{name:<14} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
