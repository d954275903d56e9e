"""The evaluation command over real files, a real index and the real graph; only models are fake."""

import gzip
import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel

from agents.notes import EvidenceRef, Gathered, PassageRef, SearchNote, Verified
from agents.result import NOT_IN_DOCUMENTS, Citation, ResearchResult, SentenceSupport
from graphs.evaluate.__main__ import main
from graphs.evaluate.kit import Kit
from graphs.evaluate.plan import Plan
from graphs.evaluate.rows import RowFile
from graphs.evaluate.scoring import Row
from graphs.evaluate.worker import run_stage
from graphs.wiring import ResearchOptions, Wired
from retrievers.pipeline import Library, open_library
from tests.fakes import HashEmbeddings, ScriptedTeam
from tests.graphs.questions import PARAGRAPHS, write_questions

ROOT = Path(__file__).parents[2]


class LibraryTeam(ScriptedTeam):
    """Quotes the first sentence of the best passage where a name of the question stands in it."""

    def __init__(self, library: Library, on_search: Callable[[int], None] | None = None) -> None:
        super().__init__()
        self.library = library
        self.on_search = on_search

    def plan(self, intake: Any, missing: list[str]) -> list[str]:
        return [intake.question]

    def search(self, sub_question: str) -> SearchNote:
        self._note("search")
        if self.on_search is not None:
            self.on_search(self._count("search"))
        found = self.library.search([sub_question], 2)
        return SearchNote(
            sub_question=sub_question,
            passages=[PassageRef(id=d.id or "") for d in found],
            evidence=[EvidenceRef(passage_id=found[0].id or "", start=0, end=9, score=1.0)],
        )

    def gather(self, question: str, notes: list[SearchNote]) -> Gathered:
        known = re.search("carbuncle|hat|band", question) is not None
        evidence = [ref for note in notes for ref in note.evidence]
        return Gathered(evidence=evidence, answerable=0.8 if known else 0.3, enough=known)

    def finish(
        self, question: str, verified: Verified | None, evidence: Any, nearest: Any
    ) -> ResearchResult:
        if verified is None:
            return ResearchResult(question=question, answer=NOT_IN_DOCUMENTS, abstained=True)
        passage = self.library.get([evidence[0].passage_id])[0]
        quote = passage.page_content.split(". ")[0] + "."
        at = passage.metadata["start"]
        cited = Citation(
            id=1,
            passage_id=passage.id or "",
            file=passage.metadata["source"],
            start=at,
            end=at + len(quote),
            quote=quote,
        )
        support = SentenceSupport(sentence=quote, citation_ids=[1], score=1.0, composed=False)
        return ResearchResult(
            question=question,
            answer=f"{quote} [1]",
            short_answer=quote.rsplit(" was ", 1)[-1],
            citations=[cited],
            support=[support],
        )


class FakeParts:
    """A kit over hashed embeddings; `on_search` is called with the number of each search."""

    def __init__(self) -> None:
        self.on_search: Callable[[int], None] | None = None
        self.model = "one"
        self.teams: list[LibraryTeam] = []
        self.stages: list[str] = []

    def kit(self) -> Kit:
        return Kit(self.wire, lambda _: HashEmbeddings(), self.open_model)

    def wire(self, options: ResearchOptions, **_: Any) -> Wired:
        assert options.index is not None
        library = open_library(options.index, options.docs, HashEmbeddings())
        self.teams.append(LibraryTeam(library, self.on_search))
        return Wired(self.teams[-1], {"model": self.model, "index": library.manifest()["index"]})

    def open_model(self, options: ResearchOptions, *, cancel: Any) -> Any:
        replies = ["It lay in the crop of a white goose.", "I don't know."]
        return FakeListChatModel(responses=replies), "fake"

    def launch(self, plan: Plan, name: str, *, quiet: bool) -> int:
        self.stages.append(name)
        return run_stage(plan, name, kit=self.kit(), quiet=quiet)

    @property
    def asked(self) -> int:
        return sum(team.calls.count("search") for team in self.teams)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_questions(tmp_path / "questions.jsonl")


@pytest.fixture
def parts() -> FakeParts:
    return FakeParts()


@pytest.fixture
def run(
    tmp_path: Path, data: Path, parts: FakeParts, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run `qa` over the data in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("DEERSTALKER_DATA_DIR", str(tmp_path / "data"))

    def call(*argv: str) -> tuple[int, str, str]:
        code = main(["qa", "--data", str(data), *argv], launch=parts.launch)
        return code, *capsys.readouterr()

    return call


def test_the_report_scores_the_graph_beside_quoting_and_the_chain(
    run: Run, parts: FakeParts
) -> None:
    code, out, err = run("--json", "--baseline")
    report = json.loads(out)
    assert code == 0 and parts.stages == ["index", "ours", "quoting", "baseline"]
    assert set(report) == {"ours", "baseline", "quoting", "settings", "manifest"}
    ours, quoting, baseline = report["ours"], report["quoting"], report["baseline"]
    assert (ours["questions"], ours["answerable"], ours["unanswerable"]) == (5, 3, 2)
    assert ours["answer_hit"] == ours["passage_recall"] == ours["citation_precision"] == 1
    assert (ours["abstention_unanswerable"], ours["abstention_answerable"]) == (1, 0)
    assert ours["em"] == pytest.approx(1 / 3, abs=1e-4)  # only the snake's rest is "a swamp adder"
    assert (ours["dangling_citations"], ours["composed_share"]) == (0, 0)
    assert ours["risk_coverage"]["auroc"] == 1
    assert ours["intervals"]["answer_hit"] == [1, 1]
    assert quoting["answer_hit"] == 1 and quoting["citations"] == 10
    assert (quoting["em"], quoting["f1"], quoting["risk_coverage"]) == (None, None, None)
    assert (quoting["abstention_unanswerable"], quoting["composed_share"]) == (0, 0)
    assert baseline["citation_precision"] is None and baseline["composed_share"] is None
    assert baseline["passage_recall"] == 1 and baseline["f1"] is not None
    assert report["manifest"]["model"] == "one" and "program" in report["manifest"]
    assert report["settings"]["data"] == "questions.jsonl" and report["settings"]["seed"] == 0
    assert "ours 5/5" in err and "baseline 5/5" in err


def test_the_chain_refuses_in_words(run: Run) -> None:
    baseline = json.loads(run("--json", "--baseline", "--limit", "4")[1])["baseline"]
    # Of the replies, which take turns, those after the warm-up are: refuse, answer, refuse, answer.
    refused = baseline["abstention_unanswerable"] * 2 + baseline["abstention_answerable"] * 2
    assert refused == 2


def test_without_baseline_there_is_none(run: Run, parts: FakeParts) -> None:
    report = json.loads(run("--json", "--limit", "2")[1])
    assert report["baseline"] is None and parts.stages == ["index", "ours", "quoting"]
    assert (report["ours"]["answerable"], report["ours"]["unanswerable"]) == (1, 1)


def test_a_gzip_file_gives_the_same_figures(run: Run, data: Path, parts: FakeParts) -> None:
    plain = json.loads(run("--json")[1])
    packed = data.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(data.read_bytes()))
    report = json.loads(run("--json", "--data", str(packed))[1])
    assert report["ours"]["answer_hit"] == plain["ours"]["answer_hit"]
    assert report["manifest"]["index"] == plain["manifest"]["index"]


def test_questions_asked_of_other_documents_are_unanswerable(run: Run, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "other.txt").write_text("Primes have two divisors. " * 9, encoding="utf-8")
    ours = json.loads(run("--json", "--docs", str(docs), "--work", str(tmp_path / "w"))[1])["ours"]
    assert (ours["answerable"], ours["unanswerable"], ours["answer_hit"]) == (0, 5, None)


def test_documents_that_hold_the_answers_can_be_named(run: Run, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "all.txt").write_text("\n\n".join(PARAGRAPHS.values()), encoding="utf-8")
    report = json.loads(run("--json", "--docs", str(docs), "--answers-apply")[1])
    assert report["ours"]["answerable"] == 3 and report["settings"]["docs"] == ["docs"]
    assert report["quoting"]["answer_hit"] == 1
    assert 0 < report["quoting"]["citation_precision"] <= 1


def test_the_table_names_every_measure_that_applies(run: Run) -> None:
    code, out, _ = run("--baseline")
    assert code == 0 and "5 questions of questions.jsonl over their own paragraphs" in out
    hit = next(line for line in out.splitlines() if "answer hit" in line)
    assert hit.count("%") == 3 and "100 % (100–100)" in hit
    assert "{" not in out


def test_the_out_file_holds_the_report_and_every_row(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    out = run("--json", "--out", str(file))[1]
    kept = json.loads(file.read_text(encoding="utf-8"))
    rows = kept.pop("rows")
    assert kept == json.loads(out)
    assert [row["at"] for row in rows["ours"]] == [0, 1, 2, 3, 4]
    assert {row["id"] for row in rows["quoting"]} == {"q0", "q1", "q2", "q3", "q4"}


def test_the_same_command_again_asks_nothing_again(run: Run, parts: FakeParts) -> None:
    first = json.loads(run("--json")[1])
    asked = parts.asked
    assert asked == 5 + 1  # one more loads the weights
    assert json.loads(run("--json")[1]) == first and parts.asked == asked
    run("--json", "--fresh")
    assert parts.asked == 2 * asked
    run("--json", "--seed", "1")
    assert parts.asked == 3 * asked


def test_ctrl_c_keeps_what_was_asked_and_the_same_command_goes_on(
    run: Run, parts: FakeParts
) -> None:
    def stop_in_the_fourth(count: int) -> None:
        if count == 4:  # the warm-up is the first
            os.kill(os.getpid(), signal.SIGINT)

    parts.on_search = stop_in_the_fourth
    code, out, err = run("--json")
    assert (code, out) == (130, "") and "run the same command again" in err
    assert "Traceback" not in err and parts.stages == ["index", "ours"]
    parts.on_search = None
    code, out, err = run("--json")
    assert code == 0 and "ours 2/5" in err
    assert json.loads(out)["ours"]["answer_hit"] == 1
    assert parts.teams[1].calls.count("search") == 3 + 1


def test_rows_of_another_model_are_not_mixed_in(run: Run, parts: FakeParts) -> None:
    run("--json")
    parts.model = "two"
    code, out, err = run("--json")
    assert code == 0 and "ours: the program or the model changed" in err
    assert parts.asked == 12 and json.loads(out)["manifest"]["model"] == "two"


def test_a_row_cut_short_by_a_kill_is_asked_again(
    run: Run, parts: FakeParts, tmp_path: Path
) -> None:
    first = json.loads(run("--json", "--work", str(tmp_path / "w"))[1])
    file = next((tmp_path / "w").glob("run-*/ours.jsonl"))
    file.write_bytes(file.read_bytes()[:-20])
    again = json.loads(run("--json", "--work", str(tmp_path / "w"))[1])
    assert parts.teams[1].calls.count("search") == 1 + 1
    assert again["ours"]["answer_hit"] == first["ours"]["answer_hit"]
    rows = RowFile(file.parent, "ours", Row).rows
    assert sorted(rows) == [0, 1, 2, 3, 4] and asdict(rows[4])["at"] == 4


def test_the_corpus_holds_each_paragraph_once_under_its_title(run: Run, tmp_path: Path) -> None:
    run("--json", "--work", str(tmp_path / "w"))
    files = sorted((tmp_path / "w").glob("corpus-*/files/*/*.txt"))
    assert sorted(file.stem for file in files) == ["Goose", "Hat", "Snake"]
    assert {file.read_text(encoding="utf-8") for file in files} == set(PARAGRAPHS.values())


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--limit", "0"], "--limit 0"),
        (["--docs", "nowhere"], "nowhere"),
        (["--answers-foreign"], "--answers-foreign"),
        (["--out", "nowhere/x.json"], "nowhere/x.json"),
    ],
)
def test_a_bad_switch_is_one_line(run: Run, parts: FakeParts, argv: list[str], named: str) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "") and parts.stages == []
    assert err.startswith("error: ") and err.count("\n") == 1 and named in err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "holds no question"),
        ("not json\n", "line 1"),
        ('{"question": "Why?", "answers": {"text": []}}\n', "holds no paragraph"),
        ('{"question": "Why?", "context": "So."}\n{"context": "x"}\n', "line 2"),
    ],
)
def test_bad_data_is_one_line(run: Run, data: Path, text: str, named: str) -> None:
    data.write_text(text, encoding="utf-8")
    code, _, err = run()
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and named in err


def test_two_processes_on_one_evaluation_is_an_error(run: Run, tmp_path: Path) -> None:
    from filelock import FileLock

    run("--json", "--work", str(tmp_path / "w"))
    folder = next((tmp_path / "w").glob("run-*"))
    with FileLock(folder / "lock"):
        code, _, err = run("--json", "--work", str(tmp_path / "w"))
    assert code == 2 and "another process" in err
