"""The research graph over a scripted team: routes, budgets, review, checkpoints."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import ValidationError

from agents.errors import QuestionError
from agents.result import NOT_IN_DOCUMENTS, ResearchResult
from graphs.budget import CallMeter, Limits
from graphs.research import build_research_graph
from graphs.state import Review
from tests.fakes import ScriptedTeam

ASK = {"question": "Where was the stone?"}
THREAD: Any = {"configurable": {"thread_id": "t"}}


def run(team: ScriptedTeam, **options: Any) -> ResearchResult:
    result = build_research_graph(team, **options).invoke(ASK)["result"]
    assert isinstance(result, ResearchResult)
    return result


def test_an_answer_passes_every_step_once_and_searches_each_sub_question() -> None:
    team = ScriptedTeam()
    result = run(team, manifest=lambda: {"index": "abc"})
    assert sorted(team.calls[2:4]) == ["search:where was the stone", "search:who hid the stone"]
    assert team.calls[:2] == ["intake", "plan"]
    assert team.calls[4:] == ["gather", "write", "verify", "finish"]
    assert not result.abstained and result.stopped is None
    assert result.manifest == {"index": "abc"}
    assert {"intake", "plan", "search", "gather", "write", "total"} <= result.timings.keys()


def test_what_is_missing_is_planned_and_searched_again() -> None:
    team = ScriptedTeam(enough=[False, True])
    assert not run(team).abstained
    assert team.calls.count("plan") == 2
    assert "search:more about point 0" in team.calls


def test_the_round_budget_ends_in_an_honest_refusal_that_names_it() -> None:
    team = ScriptedTeam(enough=[False])
    result = run(team, max_rounds=3)
    assert team.calls.count("plan") == 3 and "write" not in team.calls
    assert result.abstained and result.answer == NOT_IN_DOCUMENTS
    assert result.stopped == "the budget of 3 rounds is used up"
    assert result.nearest


def test_a_plan_with_nothing_new_is_not_searched_again() -> None:
    class Repeating(ScriptedTeam):
        def plan(self, intake: Any, missing: list[str]) -> list[str]:
            return super().plan(intake, [])

    team = Repeating(enough=[False])
    assert run(team, max_rounds=9).abstained
    assert sum(call.startswith("search") for call in team.calls) == 2
    assert team.calls.count("plan") == 2


@pytest.mark.parametrize("steps", [12, 13, 15, 20])
def test_the_step_budget_ends_the_run_before_langgraph_does(steps: int) -> None:
    result = run(ScriptedTeam(enough=[False]), limits=Limits(rounds=99, steps=steps))
    assert result.stopped == f"the budget of {steps} steps is used up"
    assert result.answer == f"No answer: {result.stopped}."


def test_the_longest_way_fits_the_smallest_step_budget() -> None:
    team = ScriptedTeam(sound=[False, False])
    graph = build_research_graph(team, InMemorySaver(), limits=Limits(rounds=2, steps=12))
    graph.invoke({**ASK, "review": True}, THREAD)
    out = graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert out["result"].abstained and out["result"].stopped is None


def test_the_time_budget_stops_before_writing() -> None:
    team = ScriptedTeam(delay=0.02)
    result = run(team, limits=Limits(seconds=0.01))
    assert "write" not in team.calls
    assert result.stopped == "the time budget of 0.01 s is used up" and result.abstained


def test_the_model_call_budget_counts_calls_of_parallel_searches() -> None:
    meter = CallMeter()

    class Calling(ScriptedTeam):
        def search(self, sub_question: str) -> Any:
            meter.add()
            return super().search(sub_question)

    asks = [f"q{i}" for i in range(5)]
    enough = run(Calling(questions=asks), limits=Limits(model_calls=6), meter=meter)
    assert enough.stopped is None
    spent = run(Calling(questions=asks), limits=Limits(model_calls=5), meter=meter)
    assert spent.stopped == "the budget of 5 model calls is used up"


def test_a_failing_draft_is_repaired_once_and_checked_again() -> None:
    team = ScriptedTeam(sound=[False, True])
    result = run(team)
    assert team.calls[-4:] == ["verify", "repair", "verify", "finish"]
    assert not result.abstained and not any(s.composed for s in result.support)


def test_a_draft_that_fails_twice_is_never_shown() -> None:
    team = ScriptedTeam(sound=[False, False])
    result = run(team)
    assert team.calls.count("repair") == 1
    assert result.abstained and result.support == []


def test_smalltalk_goes_straight_to_the_end() -> None:
    team = ScriptedTeam(intent="smalltalk")
    assert run(team).answer == "I answer from your documents."
    assert team.calls == ["intake", "finish"]


def reviewed(answer: dict[str, Any]) -> tuple[ScriptedTeam, ResearchResult]:
    team = ScriptedTeam()
    graph = build_research_graph(team, InMemorySaver())
    graph.invoke({**ASK, "review": True, "seed": 7}, THREAD)
    asked = graph.get_state(THREAD).tasks[0].interrupts[0]
    assert asked.value["action_requests"][0]["args"]["sub_questions"] == list(team.questions)
    assert asked.response_schema == Review.model_json_schema()
    out = graph.invoke(Command(resume={"decisions": [answer]}), THREAD)
    return team, out["result"]


def test_an_approved_plan_is_searched() -> None:
    team, result = reviewed({"type": "approve"})
    assert not result.abstained and result.seed == 7 and result.thread_id == "t"
    assert sum(call.startswith("search") for call in team.calls) == 2


def test_an_edited_plan_is_searched_instead() -> None:
    edit = {"name": "search_documents", "args": {"sub_questions": ["only this"]}}
    team, _ = reviewed({"type": "edit", "edited_action": edit})
    assert [c for c in team.calls if c.startswith("search")] == ["search:only this"]


def test_a_rejected_plan_ends_without_a_search() -> None:
    team, result = reviewed({"type": "reject", "message": "too broad"})
    assert not any(call.startswith("search") for call in team.calls)
    assert result.stopped == "the plan was rejected at review: too broad"
    assert result.abstained


@pytest.mark.parametrize(
    "bad", [{"type": "edit"}, {"type": "maybe"}, {"type": "edit", "edited_action": {"args": {}}}]
)
def test_a_bad_review_answer_is_refused_and_can_be_given_again(bad: dict[str, Any]) -> None:
    graph = build_research_graph(ScriptedTeam(), InMemorySaver())
    graph.invoke({**ASK, "review": True}, THREAD)
    with pytest.raises(ValidationError):
        graph.invoke(Command(resume={"decisions": [bad]}), THREAD)
    out = graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert not out["result"].abstained


def test_a_second_question_on_a_thread_forgets_the_first() -> None:
    team = ScriptedTeam()
    graph = build_research_graph(team, InMemorySaver())
    first = graph.invoke(ASK, THREAD)["result"]
    second = graph.invoke({"question": "And who?"}, THREAD)["result"]
    assert second.question == "And who?"
    assert len(second.citations) == len(first.citations) == 2
    assert graph.get_state(THREAD).values["rounds"] == 1


def test_input_without_a_question_is_refused() -> None:
    with pytest.raises(QuestionError, match="question"):
        build_research_graph(ScriptedTeam()).invoke({"nope": 1})  # type: ignore[typeddict-item,typeddict-unknown-key]  # bad on purpose


async def test_the_async_host_gets_the_same_answer() -> None:
    out = await build_research_graph(ScriptedTeam(), InMemorySaver()).ainvoke(ASK, THREAD)
    assert out["result"].answer == run(ScriptedTeam()).answer


STRICT = """
import logging, os, sys
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
from langgraph.checkpoint.memory import InMemorySaver
from graphs.research import build_research_graph
from tests.fakes import ScriptedTeam
graph = build_research_graph(ScriptedTeam(sound=[False, True]), InMemorySaver())
config = {"configurable": {"thread_id": "t"}}
graph.invoke({"question": "q"}, config, durability="sync")
values = graph.get_state(config).values
for name in ("intake", "gathered", "draft", "verified", "result"):
    print(name, type(values[name]).__name__)
print("notes", type(values["notes"][0]).__name__)
"""


def test_strict_checkpoints_give_back_every_type() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", STRICT], cwd=root, capture_output=True, text=True, check=True
    )
    back = dict(line.split() for line in done.stdout.splitlines())
    assert back == {
        "intake": "Intake",
        "gathered": "Gathered",
        "draft": "Draft",
        "verified": "Verified",
        "result": "ResearchResult",
        "notes": "SearchNote",
    }
    assert "Blocked" not in done.stderr and "unregistered" not in done.stderr
