"""One command at the terminal: find its thread, finish its run, show its answer."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from agents.errors import QuestionError
from agents.result import ResearchResult
from graphs.budget import CallMeter, Limits
from graphs.console import Console
from graphs.errors import OutputError, StateFileError, ThreadError
from graphs.persistence import RunStore, check_thread_id
from graphs.research import build_research_graph
from graphs.review import NobodyAnsweredError, ask_review
from graphs.stopping import EXIT_STOPPED, StopSignal
from graphs.wiring import DeferredTeam, ResearchOptions, Wire

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from graphs.research import ResearchGraph

EXIT_PAUSED = 3
MAX_QUESTION_WORDS = 300

# A run goes on only with what it began with; anything else would mix two runs in one answer.
_SAME_THROUGHOUT = ("model", "embeddings", "index", "prompts", "dtype", "threads")


@dataclass(frozen=True)
class Command:
    """What the person asked for; `explicit` names the switches that were really given."""

    question: str | None
    options: ResearchOptions
    state: Path
    limits: Limits
    thread: str | None = None
    review: bool = False
    as_json: bool = False
    open: int | None = None  # the citation whose page is shown
    pictures: Path = Path("pages")  # folder of the pages shown
    explicit: frozenset[str] = frozenset()

    def switches(self) -> dict[str, Any]:
        """What a run is begun with, as JSON values, so that its thread name alone resumes it."""
        return {**self.options.as_json(), "review": self.review}

    def as_begun(self, switches: Mapping[str, Any]) -> "Command":
        """This command with the switches of the run it resumes, where none were given now."""
        kept = {name: value for name, value in switches.items() if name not in self.explicit}
        review = bool(kept.pop("review", self.review))
        options = self.options.with_json(kept)
        limits = replace(self.limits, seconds=None) if options.deterministic else self.limits
        return replace(self, options=options, limits=limits, review=review)

    def implied_thread(self) -> str:
        """A thread name that the same command always gets."""
        options = self.options
        parts = {
            "question": self.question,
            "docs": sorted(str(path.resolve()) for path in options.docs),
            "index": str(options.index.resolve()) if options.index else None,
            "models": [options.model, options.embeddings, options.as_json()["base_url"]],
            "seed": options.seed,
            "deterministic": options.deterministic,
            "review": self.review,
        }
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"ask-{digest[:12]}"


@dataclass(frozen=True)
class ThreadStatus:
    """How far a thread is; `asked` is the payload of a waiting review."""

    stage: Literal["new", "unfinished", "finished"]
    question: str | None = None
    manifest: Mapping[str, Any] | None = None
    asked: dict[str, Any] | None = None
    result: ResearchResult | None = None


def check_question(question: str) -> str:
    """Return the question without surrounding blanks, or raise QuestionError."""
    question = question.strip()
    if not question:
        raise QuestionError("the question is empty: write what you want to know")
    if any("\ud800" <= letter <= "\udfff" for letter in question):
        raise QuestionError("the question holds bytes that are not UTF-8: type it again as text")
    words = len(question.split())
    if words > MAX_QUESTION_WORDS or len(question) > 10 * MAX_QUESTION_WORDS:
        raise QuestionError(
            f"the question has {words} words and {len(question)} characters: ask in at most"
            f" {MAX_QUESTION_WORDS} words, and give long texts as --docs"
        )
    return question


class Session:
    """Runs one command; a context manager's worth of state file, lease and signals."""

    def __init__(self, command: Command, wire: Wire, console: Console, answers: TextIO) -> None:
        self.command = command
        self.console = console
        self.answers = answers
        self.stop = StopSignal()
        meter = CallMeter()
        self.team = DeferredTeam(
            lambda: wire(self.command.options, console=console, meter=meter, cancel=self.stop.event)
        )
        self._meter = meter

    def run(self) -> int:
        """Answer the question; returns the exit code. Expected errors are raised."""
        thread: str | None = None
        try:
            with self.stop.watching(), ExitStack() as held:
                store = held.enter_context(RunStore(self.command.state))
                self.saver = store.saver
                self.graph = self._build_graph()
                thread, status = self._claim(store, held)
                result = self._finished(store, thread, status)
                if self.command.open is None or not store.was_shown(thread):
                    self._show(result)
                    store.mark_shown(thread)
                if self.command.open is not None:
                    self._open(result, self.command.open, store.switches(thread))
        except NobodyAnsweredError:
            self.console.error(f"paused for review; {self._how_to_resume(thread)}")
            return EXIT_PAUSED
        except sqlite3.Error as error:
            raise StateFileError(
                f"cannot keep the run in {self.command.state} ({error}); what is finished is"
                " kept: mend the disk and run the same command again, or give another --state"
            ) from error
        except (KeyboardInterrupt, Exception):
            if not self.stop.event.is_set():
                raise
            print(f"stopped; {self._how_to_resume(thread)}", file=self.console.err, flush=True)
            return EXIT_STOPPED
        return 0

    def _build_graph(self) -> "ResearchGraph":
        return build_research_graph(
            self.team.as_team(),
            self.saver,
            limits=self.command.limits,
            manifest=self.team.manifest,
            meter=self._meter,
            cancel=self.stop.event,
        )

    def _claim(self, store: RunStore, held: ExitStack) -> tuple[str, ThreadStatus]:
        """Lease the thread of this command and say how far it is."""
        if self.command.thread is not None:
            thread = check_thread_id(self.command.thread)
            held.enter_context(store.lease(thread))
            status = self._status_of_named(thread)
            if status.stage == "unfinished":
                self.command = self.command.as_begun(store.switches(thread))
                self.graph = self._build_graph()
            return thread, status
        if self.command.question is None:
            raise QuestionError("there is no question: give one, or --thread ID to go on")
        prefix = self.command.implied_thread()
        thread = f"{prefix}-{max(1, store.last_run(prefix))}"
        lease = held.enter_context(ExitStack())
        lease.enter_context(store.lease(thread))
        status = self._status(thread)
        opens = self.command.open is not None  # a page of the answer that was given before
        if status.stage != "finished" or opens or not store.was_shown(thread):
            return thread, status
        if self.command.options.deterministic:  # the same bytes twice, so the same thread name
            store.delete(thread)
            return thread, ThreadStatus("new")
        lease.close()
        thread = f"{prefix}-{store.last_run(prefix) + 1}"
        held.enter_context(store.lease(thread))
        return thread, self._status(thread)

    def _status_of_named(self, thread: str) -> ThreadStatus:
        status, question = self._status(thread), self.command.question
        if status.stage == "new" and question is None:
            raise ThreadError(
                f"there is no thread {thread!r} in {self.command.state}: give a question to"
                " begin it"
            )
        if question is None or question == status.question:
            return status
        if status.stage == "unfinished":
            raise ThreadError(
                f"thread {thread!r} is still working on {_short(status.question)}: leave the"
                " question out to finish it, or give another --thread"
            )
        return ThreadStatus("new")

    def _status(self, thread: str) -> ThreadStatus:
        snapshot = self.graph.get_state(_config(thread))
        if snapshot.created_at is None:
            return ThreadStatus("new")
        values = snapshot.values
        # `next` is also empty when a step has just ended and its checkpoint is not yet written.
        unfinished = bool(snapshot.tasks)
        waiting = [pause.value for task in snapshot.tasks for pause in task.interrupts]
        return ThreadStatus(
            stage="unfinished" if unfinished else "finished",
            question=values.get("question") or self._first_input(thread),
            manifest=values.get("manifest"),
            asked=waiting[0] if waiting else None,
            result=None if unfinished else values.get("result"),
        )

    def _first_input(self, thread: str) -> str | None:
        """The question of a run that was killed before its first step began."""
        stored = self.saver.get_tuple(_config(thread))
        begun = stored.checkpoint["channel_values"].get("__start__") if stored else None
        return begun.get("question") if isinstance(begun, dict) else None

    def _finished(self, store: RunStore, thread: str, status: ThreadStatus) -> ResearchResult:
        if status.result is not None:
            self.console.say(f"stored answer of thread {thread}")
            return status.result
        self.team.wired()
        given: Any = {
            "question": status.question or self.command.question,
            "review": self.command.review,
            "seed": self.command.options.seed,
        }
        changed = _changed(status.manifest, self.team.manifest())
        if status.stage == "unfinished" and not changed:
            self.console.say(f"resuming thread {thread}; finished steps are kept")
            given = self._answered(status.asked) if status.asked else None
        elif changed:
            self.console.say(f"{changed} changed since thread {thread} began: starting it over")
        else:
            self.console.say(f"thread   {thread}")
        if status.stage != "unfinished" or changed:
            store.keep_switches(thread, self.command.switches())
        try:
            return self._drive(thread, given)
        except QuestionError:
            store.delete(thread)
            raise

    def _drive(self, thread: str, given: Any) -> ResearchResult:
        """Run to the end, asking the person at every review on the way."""
        config = _config(thread, one_at_a_time=self.command.options.deterministic)
        while True:
            stream = self.graph.stream(given, config, stream_mode="tasks", durability="sync")
            with self.stop.between_steps():
                self.console.follow(stream)
            status = self._status(thread)
            if status.result is not None:
                return status.result
            if status.asked is None:
                raise AssertionError(f"thread {thread} stopped at neither its end nor a review")
            given = self._answered(status.asked)

    def _answered(self, asked: dict[str, Any]) -> Any:
        from langgraph.types import Command as Resume

        return Resume(resume=ask_review(asked, self.console, self.answers))

    def _open(self, result: ResearchResult, number: int, switches: Mapping[str, Any]) -> None:
        """Show the page of a citation, from the documents the run began with."""
        from graphs.open_page import open_citation

        docs = self.command.as_begun(switches).options.docs
        open_citation(result, number, docs, self.command.pictures, self.console)

    def _show(self, result: ResearchResult) -> None:
        """Give the answer; a run whose answer could not be written counts as not shown."""
        try:
            self._write(result)
        except OSError as error:
            with suppress(OSError):  # else Python writes what is left again when it exits
                self.console.out.close()
            raise OutputError(
                f"cannot write the answer to stdout ({error.strerror}): make room or give another"
                " place, and run the same command again; the answer is kept"
            ) from error

    def _write(self, result: ResearchResult) -> None:
        if self.command.as_json:
            print(
                json.dumps(result.model_dump(mode="json"), ensure_ascii=False),
                file=self.console.out,
                flush=True,
            )
        else:
            self.console.answer(result)

    def _how_to_resume(self, thread: str | None) -> str:
        same = "run the same command again to go on"
        if thread is None:
            return f"nothing is lost, {same}"
        if self.command.thread is None:
            return f"finished steps are kept, {same}"
        return f"finished steps are kept, {same} (or only --thread {thread})"


def _config(thread: str, *, one_at_a_time: bool = False) -> "RunnableConfig":
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    if one_at_a_time:
        config["max_concurrency"] = 1
    return config


def _changed(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    if before is None:
        return ""
    names = [name for name in _SAME_THROUGHOUT if before.get(name) != now.get(name)]
    return " and ".join(names)


def _short(question: str | None) -> str:
    text = question or "another question"
    return repr(text if len(text) <= 80 else text[:79] + "…")
