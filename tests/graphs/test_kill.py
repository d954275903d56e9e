"""SIGKILL at random moments of a real process; the same command must finish the run."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from graphs.cli import main
from graphs.persistence import RunStore
from graphs.research import build_research_graph
from tests.fakes import ScriptedTeam
from tests.scripted_main import scripted_wire

ROOT = Path(__file__).parents[2]
KILLS = 10
QUESTIONS = [f"question {i}" for i in range(5)]


def start(tmp_path: Path, script: dict[str, Any]) -> "subprocess.Popen[str]":
    argv = [json.dumps(script), "Where was it?", "--json", "--docs", str(ROOT / "README.md")]
    state = str(tmp_path / "runs.sqlite")
    return subprocess.Popen(
        [sys.executable, "-m", "tests.scripted_main", *argv, "--state", state],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_it_works(process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    while line := process.stderr.readline():
        if line.startswith(("thread ", "resuming ", "stored ")):
            return


def stored_steps(state: Path) -> set[str]:
    """The steps whose results are on disk: in the last checkpoint, or as pending writes."""
    with RunStore(state) as store:
        graph = build_research_graph(ScriptedTeam(), store.saver)
        rows = store.saver.list(None, limit=1)
        threads = [row.config["configurable"]["thread_id"] for row in rows]
        if not threads:
            return set()
        snapshot = graph.get_state({"configurable": {"thread_id": threads[0]}})
        done = set(snapshot.values.get("seconds", {})) - {"search"}
        done |= {f"search:{note.sub_question}" for note in snapshot.values.get("notes", [])}
        for task in snapshot.tasks:
            result: Any = task.result or {}
            done |= {f"search:{note.sub_question}" for note in result.get("notes", [])}
            done |= set(result.get("seconds", {})) - {"search"}
        return done


def finish_under_fire(folder: Path, chance: random.Random) -> tuple[dict[str, Any], int]:
    """Start and kill until a process gets through: its answer, and how often it was killed."""
    log = folder / "log"
    script = {"questions": QUESTIONS, "delay": 0.12, "log": str(log)}
    kills, seen, stored = 0, 0, set[str]()
    while True:
        process = start(folder, script)
        wait_until_it_works(process)
        time.sleep(chance.uniform(0.0, 0.6))
        process.kill()
        out, _ = process.communicate(timeout=60)
        steps = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        assert not stored & set(steps[seen:]), "a finished step ran again"
        if out.endswith("\n"):
            return json.loads(out), kills
        kills, seen, stored = kills + 1, len(steps), stored_steps(folder / "runs.sqlite")


def test_runs_killed_at_ten_random_moments_finish_with_the_same_answer(tmp_path: Path) -> None:
    chance = random.Random(20261121)
    clean = build_research_graph(ScriptedTeam(questions=QUESTIONS))
    expected = clean.invoke({"question": "Where was it?"})["result"].model_dump()
    kills = runs = 0
    while kills < KILLS:
        folder = tmp_path / str(runs)
        folder.mkdir()
        answer, more = finish_under_fire(folder, chance)
        for name in ("answer", "citations", "support", "abstained", "stopped"):
            assert answer[name] == expected[name]
        kills, runs = kills + more, runs + 1
    assert runs >= 2


class PowerCutError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("writes", range(2, 9))
def test_a_cut_between_a_step_and_its_checkpoint_repeats_no_step(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """All steps of a moment have ended, the checkpoint after them was never written."""
    log = tmp_path / "log"
    wire = scripted_wire({"log": str(log), "questions": QUESTIONS})
    argv = ["Where was it?", "--state", str(tmp_path / "s"), "--docs", str(ROOT / "README.md")]
    put, left = SqliteSaver.put, iter(range(writes))

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(left, None) is None:
            raise PowerCutError
        return put(*args, **kwargs)

    monkeypatch.setattr(SqliteSaver, "put", failing)
    with pytest.raises(PowerCutError):
        main(argv, wire=wire)
    monkeypatch.setattr(SqliteSaver, "put", put)
    assert main(argv, wire=wire) == 0
    assert "resuming thread" in capsys.readouterr().err
    steps = log.read_text(encoding="utf-8").splitlines()
    assert len(steps) == len(set(steps)) == 11
