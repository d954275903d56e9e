"""What a person sees, on a terminal and in a pipe."""

from io import StringIO
from typing import Any

from agents.result import Citation, ResearchResult
from graphs.console import Console, address
from graphs.research import build_research_graph
from retrievers.indexing import IndexReport
from tests.fakes import ScriptedTeam

ASK = {"question": "Where was it?"}


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def shown(err: StringIO, **script: Any) -> str:
    graph = build_research_graph(ScriptedTeam(**script))
    Console(StringIO(), err).follow(graph.stream(ASK, stream_mode="tasks"))
    return err.getvalue()


def test_a_pipe_gets_a_line_when_a_step_begins_and_one_when_it_ends() -> None:
    lines = shown(StringIO()).splitlines()
    assert lines[0] == "intake   ..."
    assert lines[1].startswith("intake   fact, language en  (")
    assert "search   where was the stone ..." in lines
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_a_spinner_and_the_same_result_lines() -> None:
    text = shown(Terminal(), sound=[False, True])
    assert "\x1b[" in text and "intake   ...\nintake" not in text
    assert "verify   0 of 2 sentences supported" in text
    assert "repair   2 sentences, 0 composed" in text


def test_indexing_shows_a_bar_on_a_terminal_and_lines_with_the_time_left_in_a_pipe() -> None:
    for err in (Terminal(), StringIO()):
        with Console(StringIO(), err).indexing() as progress:
            for done in range(0, 101, 10):
                progress("embedding", done, 100)
        assert "embedding" in err.getvalue() and "100/100" in err.getvalue()
    lines = err.getvalue().splitlines()
    assert lines == ["index    embedding 0/100", "index    embedding 100/100"]


def test_the_time_left_follows_from_the_speed_so_far(monkeypatch: Any) -> None:
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("graphs.console.time.monotonic", lambda: next(clock))
    err = StringIO()
    with Console(StringIO(), err).indexing() as progress:
        progress("embedding", 0, 100)
        progress("embedding", 20, 100)
    assert err.getvalue().splitlines()[1] == "index    embedding 20/100, 40 s left"


def test_every_file_left_out_is_named_with_its_reason() -> None:
    err = StringIO()
    report = IndexReport(
        indexed=2, unchanged=1, removed=1, skipped=[("scan.pdf", "no text layer")],
        passages=9, seconds=0.4, notices=["the vectors were damaged; rebuilt"],
    )  # fmt: skip
    Console(StringIO(), err).indexed(report)
    assert err.getvalue().splitlines() == [
        "index    the vectors were damaged; rebuilt",
        "index    left out scan.pdf: no text layer",
        "index    3 documents, 9 passages, 2 new or changed, 1 gone, 1 left out  (0.4 s)",
    ]


def cited(**place: Any) -> Citation:
    return Citation(id=1, passage_id="p", file="a.pdf", start=5, end=9, quote="text", **place)


def test_an_address_has_the_page_or_the_line_and_the_characters() -> None:
    assert address(cited(page=3)) == "a.pdf, page 3, characters 5-9"
    slide = cited(page=3).model_copy(update={"file": "a.pptx"})
    assert address(slide) == "a.pptx, slide 3, characters 5-9"
    assert address(cited(line=7)) == "a.pdf, line 7, characters 5-9"
    assert address(cited()) == "a.pdf, characters 5-9"


def test_a_document_cannot_drive_the_terminal() -> None:
    out, quote = StringIO(), "a \x1b[2Jquote\x07 of\nทดสอบ"
    evil = cited().model_copy(update={"quote": quote, "file": "\x1b]0;x\x07.txt"})
    result = ResearchResult(question="q", answer="An \x1b[31manswer", citations=[evil])
    Console(out, StringIO()).answer(result)
    assert "\x1b" not in out.getvalue() and "\x07" not in out.getvalue()
    assert "“a [2Jquote of ทดสอบ”" in out.getvalue()


def test_an_error_is_one_line_even_when_quiet() -> None:
    err = StringIO()
    Console(StringIO(), err, quiet=True).error("two\nlines")
    assert err.getvalue() == "error: two lines\n"
