"""What came of the draws of a soak: the counts and their tables."""

from collections import Counter
from dataclasses import dataclass, field

from llm_core.bench.report import table

WRITTEN = ("valid", "repaired", "refused", "malformed", "unfinished")
BROKEN = ("malformed", "unfinished", "crash")


@dataclass
class Draw:
    """What came of one schema, budget and temperature.

    `outcome` is one of WRITTEN, or why nothing was written: "crash", "uncompiled", "too long"
    for any budget, or "too small", a budget below the shortest reply. `invalid_by` is the keyword
    that the first whole reply broke.
    """

    number: int
    name: str
    outcome: str = ""
    budget: int = 0
    shortest: int = 0
    tokens: int = 0
    invalid_by: str = ""
    guide_seconds: float = 0.0
    all_seconds: float = 0.0
    fault: str = ""


@dataclass
class Soak:
    """What came of all draws."""

    outcomes: Counter[str] = field(default_factory=Counter)
    tight: int = 0  # replies within fewer tokens than the shortest that was known
    tokens: int = 0
    guide_seconds: float = 0.0
    all_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    keywords: Counter[str] = field(default_factory=Counter)  # why replies were asked for again

    @property
    def replies(self) -> int:
        """How many were written."""
        return sum(self.outcomes[each] for each in WRITTEN)

    @property
    def sound(self) -> bool:
        """Whether nothing broke."""
        return not any(self.outcomes[each] for each in BROKEN)

    @property
    def share(self) -> float:
        """The part of the processor time that constraints took."""
        return self.guide_seconds / self.all_seconds if self.all_seconds else 0.0

    def add(self, draw: Draw) -> None:
        """Count one."""
        self.outcomes[draw.outcome] += 1
        self.tight += draw.outcome in WRITTEN and draw.budget < draw.shortest
        self.tokens += draw.tokens
        self.guide_seconds += draw.guide_seconds
        self.all_seconds += draw.all_seconds
        self.keywords.update([draw.invalid_by] if draw.invalid_by else [])
        self.faults += [draw.fault] if draw.fault else []


def report(soak: Soak) -> list[str]:
    """Its tables, and the first faults, as lines."""
    per_reply = max(soak.replies, 1)
    ms = 1e3 * soak.guide_seconds / per_reply
    out = soak.outcomes
    rows = [
        ("replies written", soak.replies),
        ("malformed", out["malformed"]),
        ("unfinished", out["unfinished"]),
        ("crashes", out["crash"]),
        ("not valid, asked for again", out["repaired"]),
        ("not valid again: an error", out["refused"]),
        ("within fewer tokens than the shortest that was known", soak.tight),
        ("budget below the shortest reply: an error, nothing written", out["too small"]),
        ("schema without a grammar: an error, nothing written", out["uncompiled"]),
        ("shortest reply too long for this run: left out", out["too long"]),
        ("tokens a reply", round(soak.tokens / per_reply)),
        ("constraints, ms of processor time a reply", f"{ms:.2f}"),
        ("constraints, part of all processor time", f"{soak.share:.1%}"),
    ]
    causes = [[name, str(count)] for name, count in soak.keywords.most_common()]
    counts = table(["", ""], [[name, str(value)] for name, value in rows])
    keywords = table(["keyword that a reply broke", "replies"], causes)
    return [*counts, "", *keywords, *soak.faults[:20]]
