"""The command over the real graph and real SQLite; only the team is scripted."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from graphs.cli import main
from graphs.wiring import ResearchOptions
from tests.scripted_main import scripted_wire

ROOT = Path(__file__).parents[2]
ASK = "Where was the stone?"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> Run:
    """Run the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("DEERSTALKER_DATA_DIR", str(tmp_path / "data"))

    def call(*argv: str, script: dict[str, Any] | None = None, stdin: str = "") -> Any:
        monkeypatch.setattr("sys.stdin", StringIO(stdin))
        code = main(argv, wire=scripted_wire(script or {}))
        return code, *capsys.readouterr()

    return call


def error_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in err, err
    return lines[0]


def steps(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines()


def test_the_answer_is_on_stdout_with_each_cited_passage_and_its_place(run: Run) -> None:
    code, out, err = run(ASK)
    assert code == 0
    assert out.startswith("Fact 1 of the goose. [1] Fact 2 of the goose. [2]\n\nSources\n")
    assert "[2] a.txt, line 2, characters 0-9\n    “The goose”" in out
    assert "search   where was the stone ..." in err
    assert "1 passage for who hid the stone" in err


def test_quiet_says_nothing_on_stderr(run: Run) -> None:
    assert run(ASK, "--quiet")[2] == ""


def test_what_the_documents_do_not_hold_is_said_with_the_nearest_passages(run: Run) -> None:
    code, out, err = run(ASK, script={"enough": [False]})
    assert code == 0
    assert out.startswith("not in your documents\n\nNearest passages\n- a.txt")
    assert "stopped: the budget of 2 rounds is used up" in err


def test_json_is_one_object_with_the_whole_result(run: Run) -> None:
    code, out, _ = run(ASK, "--json", "--seed", "7")
    result = json.loads(out)
    assert code == 0 and out.count("\n") == 1
    assert result["question"] == ASK and result["seed"] == 7
    assert result["manifest"]["index"] == "1"
    assert {"answer", "citations", "support", "timings", "nearest", "abstained"} <= result.keys()


def test_deterministic_gives_the_same_bytes_from_a_new_run(run: Run, tmp_path: Path) -> None:
    script = {"log": str(tmp_path / "log")}
    outs = [run(ASK, "--json", "--deterministic", script=script)[1] for _ in range(2)]
    first, second = ({**json.loads(out), "timings": None} for out in outs)
    assert json.dumps(first) == json.dumps(second)
    assert steps(tmp_path / "log").count("intake") == 2


def test_opening_a_citation_shows_the_stored_answer_and_names_what_is_missing(
    run: Run, tmp_path: Path
) -> None:
    script = {"log": str(tmp_path / "log")}
    run(ASK, script=script)
    code, out, err = run(ASK, "--open", "9", script=script)
    assert (code, out) == (2, "") and "no citation [9] to open: this answer has 1 to 2" in err
    code, _, err = run(ASK, "--open", "1", script=script)
    assert code == 2 and "a.txt is not among the documents" in error_line(err)
    assert steps(tmp_path / "log").count("intake") == 1
    code, out, err = run(ASK, "--open", "1", "--json")
    assert (code, out) == (2, "") and "--open" in error_line(err)


def test_asking_again_is_a_new_run(run: Run, tmp_path: Path) -> None:
    script = {"log": str(tmp_path / "log")}
    ids = [json.loads(run(ASK, "--json", script=script)[1])["thread_id"] for _ in range(3)]
    assert [name.rsplit("-", 1)[1] for name in ids] == ["1", "2", "3"]
    assert steps(tmp_path / "log").count("intake") == 3


def test_a_named_thread_gives_its_stored_answer(run: Run, tmp_path: Path) -> None:
    script = {"log": str(tmp_path / "log")}
    first = run(ASK, "--thread", "mine", script=script)
    again = run(ASK, "--thread", "mine", script=script)
    without_question = run("--thread", "mine", script=script)
    assert first[1] == again[1] == without_question[1] != ""
    assert steps(tmp_path / "log").count("intake") == 1


def test_a_finished_thread_takes_another_question(run: Run) -> None:
    run(ASK, "--thread", "mine")
    out = run("And who hid it?", "--thread", "mine", "--json")[1]
    assert json.loads(out)["question"] == "And who hid it?"


def test_an_unknown_thread_without_a_question_is_an_error(run: Run) -> None:
    code, out, err = run("--thread", "nobody")
    assert (code, out) == (2, "")
    assert "'nobody'" in error_line(err)


@pytest.mark.parametrize("bad", ["", "../x", "a b", "x" * 129, "-x", "ก"])
def test_a_bad_thread_id_is_an_error(run: Run, bad: str) -> None:
    code, _, err = run(ASK, f"--thread={bad}")
    assert code == 2 and "thread id" in error_line(err)


def test_no_question_and_no_thread_is_an_error(run: Run) -> None:
    code, _, err = run()
    assert code == 2 and "--thread" in error_line(err)


@pytest.mark.parametrize("question", ["", " \n\t "])
def test_an_empty_question_is_an_error(run: Run, question: str, tmp_path: Path) -> None:
    code, _, err = run(question)
    assert code == 2 and "empty" in error_line(err)
    assert not (tmp_path / "data").exists()


def test_a_question_of_ten_thousand_words_is_an_error(run: Run, tmp_path: Path) -> None:
    code, _, err = run("why " * 10_000)
    assert code == 2 and "10000 words" in error_line(err) and len(err) < 300
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("kind", ["folder", "text", "below a file"])
def test_an_unusable_state_file_is_an_error(run: Run, tmp_path: Path, kind: str) -> None:
    state = tmp_path / "state"
    if kind == "folder":
        state.mkdir()
    else:
        state.write_text("this is not a database, but it is long enough to be one" * 99)
    before = state.read_bytes() if state.is_file() else None
    target = state / "x" if kind == "below a file" else state
    code, _, err = run(ASK, "--state", str(target))
    assert code == 2 and str(target) in error_line(err) and "--state" in err
    assert before is None or state.read_bytes() == before


def test_a_bad_setting_is_an_error(run: Run, monkeypatch: Any) -> None:
    monkeypatch.setenv("DEERSTALKER_MAX_ROUNDS", "many")
    code, _, err = run(ASK)
    assert code == 2 and "DEERSTALKER_MAX_ROUNDS='many'" in error_line(err)


def test_review_edits_the_plan_at_the_terminal(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code, out, err = run(ASK, "--review", script={"log": str(log)}, stdin="what?\ne\nonly this\n\n")
    assert code == 0 and "Fact 1" in out
    assert "1. where was the stone" in err and "please answer" in err
    assert [step for step in steps(log) if step.startswith("search")] == ["search:only this"]


def test_review_rejected_gives_no_answer(run: Run) -> None:
    code, out, _ = run(ASK, "--review", stdin="r\ntoo broad\n")
    assert code == 0
    assert out.startswith("No answer: the plan was rejected at review: too broad.")


def test_a_paused_review_is_shown_again_and_goes_on(run: Run, tmp_path: Path) -> None:
    script = {"log": str(tmp_path / "log")}
    code, out, err = run(ASK, "--review", "--thread", "t", script=script)
    assert (code, out) == (3, "") and "--thread t" in error_line(err)
    code, out, err = run("--thread", "t", script=script, stdin="a\n")
    assert code == 0 and "Fact 1" in out and "1. where was the stone" in err
    assert steps(tmp_path / "log").count("plan") == 1


def test_an_unfinished_thread_refuses_another_question(run: Run) -> None:
    run(ASK, "--review", "--thread", "t")
    code, _, err = run("Something else?", "--thread", "t")
    assert code == 2 and ASK in error_line(err)


def test_a_thread_name_alone_resumes_with_the_switches_of_its_run(
    run: Run, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    given = ["--docs", "docs", "--model", "m", "--seed", "0", "--deterministic", "--review"]
    run(ASK, *given, "--thread", "t", stdin="")
    monkeypatch.chdir(ROOT)
    wired: list[ResearchOptions] = []
    code, out, _ = run("--thread", "t", "--json", script={"wired": wired}, stdin="a\n")
    assert code == 0 and json.loads(out)["seed"] == 0
    (options,) = wired
    assert options.docs == (tmp_path / "docs",)
    assert (options.model, options.seed, options.deterministic) == ("m", 0, True)


def test_switches_given_on_resuming_win(run: Run, tmp_path: Path) -> None:
    run(ASK, "--model", "m", "--seed", "3", "--review", "--thread", "t")
    wired: list[ResearchOptions] = []
    run("--thread", "t", "--model", "n", script={"wired": wired}, stdin="a\n")
    assert [(options.model, options.seed) for options in wired] == [("n", 3)]


def test_the_password_of_a_server_is_not_kept(run: Run, tmp_path: Path, monkeypatch: Any) -> None:
    address = "http://me:pass-word@127.0.0.1:9/v1"
    given = ["--base-url", address, "--state", str(tmp_path / "s")]
    run(ASK, *given, "--review", "--thread", "t")
    run(ASK, *given, "--json")
    assert all(
        b"pass-word" not in path.read_bytes() for path in tmp_path.glob("s*") if path.is_file()
    )
    wired: list[ResearchOptions] = []
    monkeypatch.setenv("DEERSTALKER_BASE_URL", address)
    run("--thread", "t", *given[2:], script={"wired": wired}, stdin="a\n")
    assert [options.base_url for options in wired] == [address]


@pytest.mark.parametrize("switch", ["--docs", "--index", "--state"])
def test_an_empty_path_is_an_error_and_not_this_folder(
    run: Run, switch: str, tmp_path: Path
) -> None:
    code, out, err = run(ASK, switch, "")
    assert (code, out) == (2, "") and f"{switch} is empty" in error_line(err)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_a_seed_out_of_range_is_an_error(run: Run, seed: int) -> None:
    code, _, err = run(ASK, f"--seed={seed}")
    assert code == 2 and str(seed) in error_line(err)


def test_a_question_that_is_not_text_is_an_error(run: Run) -> None:
    code, _, err = run("Where was the \udcff stone?")
    assert code == 2 and "UTF-8" in error_line(err)


def test_a_run_is_started_over_when_the_index_changed_under_it(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(ASK, "--review", "--thread", "t", script={"log": str(log)})
    newer = {"log": str(log), "manifest": {"model": "scripted", "index": "2"}}
    code, out, err = run("--thread", "t", "--json", script=newer, stdin="a\n")
    assert code == 0 and "index changed since thread t began" in err
    assert json.loads(out)["manifest"]["index"] == "2"
    assert steps(log).count("plan") == 2


@pytest.mark.parametrize("name", ["dtype", "threads"])
def test_a_run_is_started_over_under_other_arithmetic(run: Run, name: str) -> None:
    run(ASK, "--review", "--thread", "t", script={"manifest": {name: "1"}})
    err = run("--thread", "t", script={"manifest": {name: "2"}}, stdin="a\n")[2]
    assert f"{name} changed since thread t began: starting it over" in err


def test_a_failing_team_keeps_its_traceback_and_the_steps_before_it(
    run: Run, tmp_path: Path
) -> None:
    script = {"log": str(tmp_path / "log")}
    with pytest.raises(TypeError):
        run(ASK, script={**script, "enough": None})
    assert run(ASK, script=script)[0] == 0
    assert steps(tmp_path / "log").count("plan") == 1


def start(tmp_path: Path, script: dict[str, Any], *argv: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.scripted_main", json.dumps(script), *argv]
    return subprocess.Popen(
        [*command, "--state", str(tmp_path / "s.sqlite")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(log: Path, step: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if log.exists() and step in steps(log):
            return
        time.sleep(0.02)
    raise AssertionError(f"{step} never came")


@pytest.mark.parametrize("argv", [[ASK, "--thread", "t"], [ASK]])
def test_a_second_process_on_the_same_thread_is_refused(tmp_path: Path, argv: list[str]) -> None:
    log = tmp_path / "log"
    first = start(tmp_path, {"delay": 0.5, "log": str(log)}, *argv)
    wait_for(log, "intake")
    second = start(tmp_path, {}, *argv)
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (2, "") and "another process" in error_line(err)
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 0 and "Fact 1" in out


@pytest.mark.parametrize(("number", "argv"), [(2, [ASK]), (15, [ASK, "--thread", "t"])])
def test_a_signal_stops_the_run_and_the_same_command_finishes_it(
    tmp_path: Path, number: int, argv: list[str]
) -> None:
    log = tmp_path / "log"
    script = {"delay": 0.4, "log": str(log)}
    first = start(tmp_path, script, *argv)
    wait_for(log, "plan")
    asked = time.monotonic()
    first.send_signal(number)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130 and time.monotonic() - asked < 3
    assert "stopped; finished steps are kept, run the same command again" in err
    assert "Traceback" not in err
    second = start(tmp_path, {**script, "delay": 0}, *argv)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0 and "resuming thread" in err and "Fact 1" in out
    assert steps(log).count("intake") == steps(log).count("plan") == 1


@pytest.mark.parametrize("argv", [[ASK], [ASK, "--json"]])
def test_a_full_disk_behind_stdout_is_one_line_and_the_answer_is_kept(
    tmp_path: Path, argv: list[str]
) -> None:
    script = {"log": str(tmp_path / "log")}
    command = [sys.executable, "-m", "tests.scripted_main", json.dumps(script), *argv, "--quiet"]
    command += ["--state", str(tmp_path / "s")]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "No space left" in error_line(done.stderr)
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Fact 1" in again.stdout
    assert steps(tmp_path / "log").count("intake") == 1


def test_ctrl_c_while_packages_are_imported_says_how_to_go_on(run: Run, monkeypatch: Any) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("graphs.command._run_session", interrupted)
    code, _, err = run(ASK)
    assert code == 130 and err == (
        "stopped; nothing is lost, run the same command again to go on\n"
    )


def test_help_promises_no_more_of_a_seed_than_it_does(run: Run) -> None:
    shown = " ".join(run("--help")[1].split())
    assert "Seed sent to a served model" in shown and "greedy" in shown


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "langgraph", "langchain_core", "faiss", "pydantic", "rich"]
    code = (
        "import sys, graphs.research as r\nsys.argv = ['x', '--help']\ncode = r.main()\n"
        f"print('\\nHEAVY', [m for m in {heavy} if m in sys.modules], code)"
    )
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "HEAVY [] 0" in done.stdout and "--docs" in done.stdout
    assert time.perf_counter() - begun < 2  # 0.1 s alone; the rest is for a busy machine


def test_main_works_outside_the_main_thread(tmp_path: Path) -> None:
    codes: list[int] = []
    argv: Sequence[str] = [ASK, "--quiet", "--state", str(tmp_path / "s")]
    worker = threading.Thread(target=lambda: codes.append(main(argv, wire=scripted_wire({}))))
    worker.start()
    worker.join(60)
    assert codes == [0]
