"""What every stage of a search returned, with scores and times: as JSON values and as a table."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from retrievers.query.plan import QueryPlan

SHOWN: Final = 5  # results of a stage in a table
Item = tuple[str, Mapping[str, float]]  # the id of a passage and its scores at a stage


@dataclass(frozen=True, slots=True)
class StageTrace:
    """One stage: its name, the seconds it took, the ids it returned, best first, with scores."""

    stage: str
    seconds: float
    items: tuple[Item, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchTrace:
    """How one search went, stage by stage."""

    question: str
    plan: Mapping[str, Any]
    stages: tuple[StageTrace, ...]

    @property
    def seconds(self) -> float:
        """What all stages took together."""
        return sum(stage.seconds for stage in self.stages)

    def as_json(self) -> dict[str, Any]:
        """The trace as JSON values; scores to six digits, seconds to microseconds."""
        return {
            "question": self.question,
            "seconds": round(self.seconds, 6),
            "plan": dict(self.plan),
            "stages": [
                {
                    "stage": stage.stage,
                    "seconds": round(stage.seconds, 6),
                    "notes": list(stage.notes),
                    "items": [
                        {"id": id_, **{name: round(score, 6) for name, score in scores.items()}}
                        for id_, scores in stage.items
                    ],
                }
                for stage in self.stages
            ],
        }

    def table(self, shown: int = SHOWN, names: Mapping[str, str] | None = None) -> str:
        """The trace as lines of text: `shown` results a stage, an id replaced by its name."""
        return trace_table(self.as_json(), shown, names)


def trace_table(
    trace: Mapping[str, Any], shown: int = SHOWN, names: Mapping[str, str] | None = None
) -> str:
    """`SearchTrace.table` for a trace that was kept as JSON values."""
    called = names or {}
    lines = [f"search  {trace['question']}  ({_milliseconds(trace['seconds'])})"]
    for stage in trace["stages"]:
        items = stage["items"]
        count = f"{len(items)} results" if items else "-"
        lines.append(f"  {stage['stage']:<10} {_milliseconds(stage['seconds']):>9}  {count}")
        lines += [f"{'':<14}{note}" for note in stage["notes"]]
        for rank, item in enumerate(items[:shown], 1):
            scores = "  ".join(f"{k} {v:.3f}" for k, v in item.items() if k != "id")
            lines.append(f"{rank:>13}. {called.get(item['id'], item['id'])}  {scores}".rstrip())
    return "\n".join(lines)


@dataclass(slots=True)
class Recorder:
    """Notes the stages of a search as they run; with `keep` off only times are taken."""

    keep: bool = True
    stages: list[StageTrace] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator["Findings"]:
        """Time the block as stage `name`; it puts what it found into what it is given."""
        found = Findings()
        begun = time.perf_counter()
        yield found
        seconds = time.perf_counter() - begun
        items = tuple(found.items) if self.keep else ()
        self.stages.append(StageTrace(name, seconds, items, tuple(found.notes)))


@dataclass(slots=True)
class Findings:
    """What a stage returns for its trace."""

    items: Sequence[Item] = ()
    notes: Sequence[str] = ()

    def rank(self, name: str, ranked: Sequence[tuple[str, float]]) -> None:
        """Note ids with their one score, called `name`."""
        self.items = [(id_, {name: float(score)}) for id_, score in ranked]


def plan_values(plan: "QueryPlan") -> dict[str, Any]:
    """A query plan as JSON values."""
    return {**asdict(plan), "where": dict(plan.where) if plan.where else None}


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"
