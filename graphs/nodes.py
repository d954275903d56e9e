"""Steps and routes of the research graph; the topology is in `graphs.research`."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.types import Overwrite, Send, interrupt

from agents.errors import QuestionError
from agents.notes import Draft, EvidenceRef, Gathered, Intake, PassageRef, SearchNote, Verified
from agents.result import ResearchResult
from graphs.budget import CallMeter, Limits
from graphs.errors import RunCancelledError
from graphs.state import ResearchState, Review, SearchTask, add_seconds, review_request, typed

Update = dict[str, Any]

# The longest way from `gather` to the end: write, verify, repair, verify, abstain, finish.
_STEPS_TO_END = 7
_STEPS_OF_A_ROUND = 4  # plan, review, search, gather


class Team(Protocol):
    """What the graph needs of the research team; `agents.team.ResearchTeam` is the real one."""

    def intake(self, question: str) -> Intake: ...

    def plan(self, intake: Intake, missing: list[str]) -> list[str]: ...

    def search(self, sub_question: str) -> SearchNote: ...

    def gather(self, question: str, notes: list[SearchNote]) -> Gathered: ...

    def write(self, question: str, evidence: list[EvidenceRef]) -> Draft: ...

    def verify(self, question: str, draft: Draft, evidence: list[EvidenceRef]) -> Verified: ...

    def repair(self, question: str, verified: Verified, evidence: list[EvidenceRef]) -> Draft: ...

    def finish(
        self,
        question: str,
        verified: Verified | None,
        evidence: list[EvidenceRef],
        nearest: list[PassageRef],
    ) -> ResearchResult: ...


class ResearchNodes:
    """The steps, bound to a team and its budgets; each returns what it changes in the state."""

    def __init__(
        self,
        team: Team,
        limits: Limits,
        *,
        manifest: Callable[[], Mapping[str, Any]] = dict,
        meter: CallMeter | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        self.team = team
        self.limits = limits
        self.manifest = manifest
        self.meter = meter if meter is not None else CallMeter()
        self.cancel = cancel
        self._out_of_rounds = f"the budget of {limits.rounds} rounds is used up"

    def intake(self, state: ResearchState) -> Update:
        """Normalise the question and clear what an earlier question left on the thread."""
        question = state.get("question")
        if not isinstance(question, str):
            raise QuestionError("the input has no 'question': give {'question': '...'}")
        fresh: Update = {
            "sub_questions": [],
            "notes": Overwrite([]),
            "rounds": 0,
            "gathered": None,
            "draft": None,
            "verified": None,
            "repaired": False,
            "stopped": None,
            "result": None,
        }
        update = self._step("intake", lambda: {"intake": self.team.intake(question)})
        seconds, calls = update.pop("seconds"), update.pop("model_calls")
        counts = {"seconds": Overwrite(seconds), "model_calls": Overwrite(calls)}
        return {**fresh, "manifest": dict(self.manifest()), **counts, **update}

    def plan(self, state: ResearchState) -> Update:
        """Ask for sub-questions: of the question first, then of what is missing."""
        state = typed(state)
        gathered = state["gathered"]
        missing = gathered.missing if gathered is not None else []
        searched = {note.sub_question for note in state["notes"]}

        def work() -> Update:
            asked = self.team.plan(state["intake"], missing)
            fresh = [text for text in dict.fromkeys(asked) if text not in searched]
            return {"sub_questions": fresh, "rounds": state["rounds"] + 1}

        return self._step("plan", work)

    def review(self, state: ResearchState) -> Update:
        """Wait for a person to approve, edit or reject the plan."""
        request = review_request(state["sub_questions"])
        decision = interrupt(request, response_schema=Review).decisions[0]
        if decision.type == "edit" and decision.edited_action is not None:
            return {"sub_questions": decision.edited_action.args.sub_questions}
        if decision.type == "reject":
            why = f": {decision.message}" if decision.message else ""
            return {"stopped": f"the plan was rejected at review{why}"}
        return {}

    def search(self, state: SearchTask) -> Update:
        """Search for one sub-question; branches of this step run side by side."""
        sub_question = state["sub_question"]
        return self._step("search", lambda: {"notes": [self.team.search(sub_question)]})

    def gather(self, state: ResearchState) -> Update:
        """Join the searches and say whether they are enough, or which budget ends the looking."""
        state = typed(state)
        question, notes = state["intake"].question, state["notes"]
        update = self._step("gather", lambda: {"gathered": self.team.gather(question, notes)})
        gathered: Gathered = update["gathered"]
        spent = self.limits.spent(
            sum(state["seconds"].values()) + sum(update["seconds"].values()),
            state["model_calls"] + update["model_calls"],
        )
        look_again = not gathered.enough and bool(gathered.missing)
        needed = _STEPS_TO_END + (_STEPS_OF_A_ROUND if look_again else 0)
        if look_again and state["rounds"] >= self.limits.rounds:
            update["stopped"] = self._out_of_rounds
        elif spent is not None:
            update["stopped"] = spent
        elif state["remaining_steps"] < needed:
            update["stopped"] = f"the budget of {self.limits.steps} steps is used up"
        return update

    def write(self, state: ResearchState) -> Update:
        """Write the answer from the gathered evidence."""
        state = typed(state)
        evidence = _evidence(state)
        question = state["intake"].question
        return self._step("write", lambda: {"draft": self.team.write(question, evidence)})

    def verify(self, state: ResearchState) -> Update:
        """Check every sentence of the draft against what it cites."""
        state = typed(state)
        question, draft = state["intake"].question, state["draft"] or Draft()
        evidence = _evidence(state)
        return self._step(
            "verify", lambda: {"verified": self.team.verify(question, draft, evidence)}
        )

    def repair(self, state: ResearchState) -> Update:
        """Replace or drop what failed, once."""
        state = typed(state)
        question, verified = state["intake"].question, state["verified"]
        if verified is None:
            raise AssertionError("repair follows verify")
        evidence = _evidence(state)
        return self._step(
            "repair",
            lambda: {"draft": self.team.repair(question, verified, evidence), "repaired": True},
        )

    def abstain(self, state: ResearchState) -> Update:  # noqa: ARG002 (LangGraph names it)
        """Give up the draft: nothing unsupported leaves the graph."""
        return {"draft": None, "verified": None}

    def finish(self, state: ResearchState, config: RunnableConfig) -> Update:
        """Build the result object: the answer with its citations, or the honest refusal."""
        state = typed(state)
        gathered = state["gathered"] or Gathered()
        verified, stopped = state["verified"], state["stopped"]
        question = state["intake"].question

        def work() -> Update:
            result = self.team.finish(question, verified, gathered.evidence, gathered.nearest)
            return {"result": result}

        update = self._step("finish", work)
        result: ResearchResult = update["result"]
        seconds = add_seconds(state["seconds"], update["seconds"])
        changes: Update = {
            "thread_id": str(config.get("configurable", {}).get("thread_id") or ""),
            "seed": state.get("seed"),
            "stopped": stopped,
            "manifest": state["manifest"],
            "timings": {**_rounded(seconds), "total": round(sum(seconds.values()), 3)},
            "search": [note.trace for note in state["notes"] if note.trace is not None],
        }
        if stopped and result.abstained and stopped != self._out_of_rounds:
            changes["answer"] = f"No answer: {stopped}."
        update["result"] = result.model_copy(update=changes)
        return update

    def after_intake(self, state: ResearchState) -> str:
        """Chit-chat needs no documents."""
        state = typed(state)
        return "finish" if state["intake"].intent == "smalltalk" else "plan"

    def after_plan(self, state: ResearchState) -> str | list[Send]:
        """A person first where asked for; no new question leaves nothing to search."""
        if not state["sub_questions"]:
            return "gather"
        return "review" if state.get("review") else _one_search_per_question(state)

    def after_review(self, state: ResearchState) -> str | list[Send]:
        """Search what was approved."""
        return "abstain" if state["stopped"] else _one_search_per_question(state)

    def after_gather(self, state: ResearchState) -> str:
        """Write when there is enough, look again while rounds are left, else say so."""
        state = typed(state)
        gathered = state["gathered"] or Gathered()
        if gathered.enough and not state["stopped"]:
            return "write"
        again = gathered.missing and state["sub_questions"] and not state["stopped"]
        return "plan" if again else "abstain"

    def after_verify(self, state: ResearchState) -> str:
        """Finish what stands, repair once what does not, then abstain."""
        state = typed(state)
        verified = state["verified"]
        if verified is None or not verified.draft.sentences:
            return "abstain"
        if verified.sound:
            return "finish"
        return "abstain" if state["repaired"] else "repair"

    def _step(self, name: str, work: Callable[[], Update]) -> Update:
        """Run one step's work, timed and with its model calls counted."""
        if self.cancel is not None and self.cancel.is_set():
            raise RunCancelledError("the run was stopped")
        begun = time.perf_counter()
        with self.meter.step() as tally:
            update = work()
        seconds = time.perf_counter() - begun
        return {**update, "seconds": {name: seconds}, "model_calls": tally.calls}


def _one_search_per_question(state: ResearchState) -> list[Send]:
    return [Send("search", SearchTask(sub_question=text)) for text in state["sub_questions"]]


def _evidence(state: ResearchState) -> list[EvidenceRef]:
    gathered = state["gathered"]
    return gathered.evidence if gathered is not None else []


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {step: round(value, 3) for step, value in seconds.items()}
