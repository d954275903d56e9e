"""The evaluation command as processes: Ctrl-C, missing models, the real team, quick help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.graphs.questions import write_questions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_questions(tmp_path / "questions.jsonl")


def test_ctrl_c_reaches_the_child_and_ends_both(data: Path, tmp_path: Path) -> None:
    plan = tmp_path / "w"
    script = (
        "import os, signal, sys, threading, time\n"
        "from pathlib import Path\n"
        "import graphs.evaluate.command as command\n"
        "command.sys.executable = sys.argv[1]\n"
        "given = command.Given(data=Path(sys.argv[2]), work=Path(sys.argv[3]))\n"
        "press = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Timer(1.5, press).start()\n"
        "sys.exit(command.run_qa(given))\n"
    )
    child = tmp_path / "child"  # waits for its Ctrl-C as a stage does
    child.write_text(
        f"#!{sys.executable}\nimport sys, time\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    sys.exit(130)\n",
        encoding="utf-8",
    )
    child.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", script, str(child), str(data), str(plan)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 130, done.stderr
    assert "stopped; run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_child_that_misses_the_models_says_so_and_ends_the_command(
    data: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "DEERSTALKER_CACHE_DIR": str(tmp_path / "empty")}
    work = ["--work", str(tmp_path / "w")]
    done = subprocess.run(
        [sys.executable, "-m", "graphs.evaluate", "qa", "--data", str(data), *work],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("error: ") == 1 and "doctor --fetch" in done.stderr


@pytest.mark.model
def test_the_real_team_is_measured_in_processes_of_their_own(data: Path, tmp_path: Path) -> None:
    switches = ["--limit", "2", "--json", "--quiet", "--work", str(tmp_path / "w")]
    done = subprocess.run(
        [sys.executable, "-m", "graphs.evaluate", "qa", "--data", str(data), *switches],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    ours, quoting = report["ours"], report["quoting"]
    assert ours["questions"] == 2 and ours["passage_recall"] == 1
    assert (ours["dangling_citations"], ours["duplicate_citations"]) == (0, 0)
    assert ours["peak_memory_mb"] > quoting["peak_memory_mb"] > 50


def test_help_is_quick_and_loads_no_model_library() -> None:
    code = (
        "import sys, time; begun = time.process_time()\n"
        "from graphs.evaluate.__main__ import main\n"
        "assert main(['qa', '--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'langgraph', 'faiss', 'numpy'} & sys.modules.keys()\n"
        "print(sorted(heavy), time.process_time() - begun < 0.5)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[] True", done.stdout + done.stderr
