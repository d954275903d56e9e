"""What a person sees: progress on stderr, the answer with its evidence on stdout."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from agents.notes import Draft, Gathered, Intake, SearchNote, Verified
from agents.result import NOT_IN_DOCUMENTS, Quote, ResearchResult

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from retrievers.indexing import IndexReport

Progress = Callable[[str, int, int], None]

_LINE_EVERY_SECONDS = 5.0
_QUOTE_CHARACTERS = 600
_FEW = 10


class Console:
    """Writes to two streams; spinners and bars appear only where stderr is a terminal."""

    def __init__(self, out: TextIO, err: TextIO, *, quiet: bool = False) -> None:
        self.out = out
        self.err = err
        self.quiet = quiet
        self.live = not quiet and err.isatty()

    def say(self, text: str) -> None:
        """One line of progress."""
        if not self.quiet:
            print(text, file=self.err, flush=True)

    def error(self, error: Exception | str) -> None:
        """The one line of an expected error, also when quiet."""
        text = " ".join(str(error).split())
        print(f"error: {_printable(text)}", file=self.err, flush=True)

    @contextmanager
    def indexing(self) -> Iterator[Progress]:
        """Show the index being brought up to date: a bar with the time left."""
        if not self.live:
            yield _PlainBar(self.say)
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        screen = RichConsole(file=self.err)
        with RichProgress(*columns, TimeRemainingColumn(), console=screen) as bars:
            yield _rich_bar(bars)

    def indexed(self, report: "IndexReport") -> None:
        """What the index holds now, and every file that was left out and why."""
        for notice in report.notices:
            self.say(f"{'index':<8} {_one_line(notice)}")
        for source, reason in report.skipped:
            self.say(f"{'index':<8} left out {source}: {_one_line(reason)}")
        files = _count(report.indexed + report.unchanged, "document")
        left_out = f", {len(report.skipped)} left out" if report.skipped else ""
        changed = f", {report.indexed} new or changed" if report.indexed else ""
        removed = f", {report.removed} gone" if report.removed else ""
        passages = _count(report.passages, "passage")
        self.say(
            f"{'index':<8} {files}, {passages}{changed}{removed}{left_out}"
            f"  ({report.seconds:.1f} s)"
        )

    def follow(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Show the steps of a run from LangGraph's `tasks` stream, to its end."""
        begun: dict[str, float] = {}
        with self._spinner() as spin:
            for event in events:
                if "input" in event:
                    begun[event["id"]] = time.perf_counter()
                    spin(_doing(event["name"], event["input"]))
                elif not event.get("error") and not event.get("interrupts"):
                    seconds = time.perf_counter() - begun.get(event["id"], time.perf_counter())
                    done = _done(event["name"], event["result"])
                    self.say(f"{event['name']:<8} {done}  ({seconds:.1f} s)")

    def answer(self, result: ResearchResult) -> None:
        """The answer, then every cited passage with its address."""
        print(_printable(result.answer), file=self.out)
        if result.citations:
            print("\nSources", file=self.out)
        for citation in result.citations:
            print(f"[{citation.id}] {address(citation)}", file=self.out)
            print(f"    “{_one_line(citation.quote)}”", file=self.out)
        if result.abstained and result.nearest:
            print("\nNearest passages", file=self.out)
            for nearest in result.nearest:
                print(f"- {address(nearest)} (similarity {nearest.score:.2f})", file=self.out)
                print(f"    “{_one_line(nearest.quote)}”", file=self.out)
        for trace in result.search:
            self._explain(trace)
        if result.stopped and result.answer == NOT_IN_DOCUMENTS:
            self.say(f"stopped: {result.stopped}")
        self.out.flush()

    def _explain(self, trace: Mapping[str, Any]) -> None:
        """What every stage of one search returned, below the answer."""
        from retrievers.trace import trace_table

        print(f"\n{_printable(trace_table(trace, names=trace.get('places')))}", file=self.out)

    @contextmanager
    def _spinner(self) -> Iterator[Callable[[str], None]]:
        if not self.live:
            yield self.say
            return
        from rich.console import Console as RichConsole
        from rich.markup import escape

        with RichConsole(file=self.err).status("starting") as status:
            yield lambda text: status.update(escape(text))


def address(quote: Quote) -> str:
    """Where the quoted words stand: file, page (or slide, sheet) or line, character span."""
    from retrievers.loaders import unit_of

    paged = quote.page is not None
    place = f"{unit_of(quote.file)} {quote.page}" if paged else f"line {quote.line}"
    file = _one_line(quote.file)
    where = f"{file}, {place}" if quote.page is not None or quote.line else file
    return f"{where}, characters {quote.start}-{quote.end}"


class _PlainBar:
    """Progress as lines: the first, the last, and one every few seconds, with the time left."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun: dict[str, float] = {}
        self._shown: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if done == 0 and 0 < total <= _FEW:  # over before a line about it is read
            return
        now = time.monotonic()
        begun = self._begun.setdefault(stage, now)
        recent = now - self._shown.get(stage, 0.0) < _LINE_EVERY_SECONDS
        if stage in self._shown and recent and done < total:
            return
        self._shown[stage] = now
        left = f", {(now - begun) / done * (total - done):.0f} s left" if 0 < done < total else ""
        how_far = f"{done}/{total}{left}" if total else "for another process"
        self._say(f"{'index':<8} {stage} {how_far}")


def _rich_bar(bars: "RichProgress") -> Progress:
    tasks: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    return show


def _doing(step: str, state: Any) -> str:
    if step == "search":
        return f"{step:<8} {_one_line(state['sub_question'])} ..."
    return f"{step:<8} ..."


def _done(step: str, result: Mapping[str, Any]) -> str:
    show = _SUMMARIES.get(step)
    shown = show(result) if show is not None else ""
    return f"{shown}; {result['stopped']}" if shown and result.get("stopped") else shown


def _intake(result: Mapping[str, Any]) -> str:
    intake: Intake = result["intake"]
    return f"{intake.intent}, language {intake.language}"


def _plan(result: Mapping[str, Any]) -> str:
    asked: list[str] = result["sub_questions"]
    return f"{_count(len(asked), 'question')}: {_one_line(' | '.join(asked))}"


def _search(result: Mapping[str, Any]) -> str:
    note: SearchNote = result["notes"][0]
    return f"{_count(len(note.passages), 'passage')} for {_one_line(note.sub_question)}"


def _gather(result: Mapping[str, Any]) -> str:
    gathered: Gathered = result["gathered"]
    verdict = "enough" if gathered.enough else "not enough"
    return f"{_count(len(gathered.evidence), 'sentence')} of evidence, {verdict}"


def _draft(result: Mapping[str, Any]) -> str:
    draft: Draft = result["draft"]
    composed = sum(sentence.composed for sentence in draft.sentences)
    return f"{_count(len(draft.sentences), 'sentence')}, {composed} composed"


def _verify(result: Mapping[str, Any]) -> str:
    verified: Verified = result["verified"]
    sound = sum(verdict.supported for verdict in verified.verdicts)
    return f"{sound} of {_count(len(verified.verdicts), 'sentence')} supported"


def _finish(result: Mapping[str, Any]) -> str:
    answer: ResearchResult = result["result"]
    return "no answer" if answer.abstained else _count(len(answer.citations), "citation")


_SUMMARIES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "review": lambda result: "" if result.get("stopped") else "go",
    "abstain": lambda _: "nothing that stands",
    "intake": _intake,
    "plan": _plan,
    "search": _search,
    "gather": _gather,
    "write": _draft,
    "verify": _verify,
    "repair": _draft,
    "finish": _finish,
}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _printable(text: str) -> str:
    """The text without control characters: a document must not be able to drive the terminal."""
    return "".join(c for c in text if c.isprintable() or c == "\n")


def _one_line(text: str) -> str:
    flat = _printable(" ".join(text.split()))
    return flat if len(flat) <= _QUOTE_CHARACTERS else flat[: _QUOTE_CHARACTERS - 1] + "…"


def standard_console(*, quiet: bool) -> Console:
    """A console on this process's own streams."""
    return Console(sys.stdout, sys.stderr, quiet=quiet)
