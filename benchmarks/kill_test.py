"""Kill the research command at random moments; the same command must finish with the same answer.

    python -m benchmarks.kill_test --kills 10 --seed 0

One run in peace gives the reference: its answer, its steps, its duration. Each trial then has a
state file of its own: the command is started, its process group gets SIGKILL at a random moment
of that duration, and the same command is run in new processes until one finishes; about one trial
in three is killed a second time. Progress goes to stderr, one JSON object to stdout:

- trials: runs that were killed at least once;
- kills: SIGKILLs sent to a process that had not answered yet;
- finished, same_answer: trials that ended with an answer, and with the reference's (everything in
  the JSON result but timings and thread_id);
- steps_lost: steps whose result was on disk at a kill and which were executed again, or which are
  missing from the finished thread's history;
- seconds: of the whole test.

Exit code 1 where a trial fails.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
QUESTION = "Where was the blue carbuncle hidden, and who stole it?"  # two parallel searches
SECOND_KILL = 0.35
LIMIT_SECONDS = 600.0

# A step's line on stderr once it was executed; steps taken from the disk print none.
_DONE = re.compile(r"^(\w+) +(.*)  \(\d+\.\d s\)$")
_NOT_STEPS = {"index"}

Steps = Counter[str]


class TrialError(Exception):
    """A run that was to finish and did not."""


@dataclass(frozen=True)
class Ended:
    """One process: what it said, and whether it was killed before it had answered."""

    killed: bool
    result: dict[str, Any] | None
    said: str
    seconds: float

    def executed(self) -> Steps:
        """The steps that this process executed to their end."""
        lines = [_DONE.match(line) for line in self.said.splitlines()]
        found = [match for match in lines if match and match[1] not in _NOT_STEPS]
        return Counter(_label(match[1], match[2].partition(" for ")[2]) for match in found)


@dataclass(frozen=True)
class Stored:
    """A thread's checkpoint history: checkpoint ids, oldest first, and the finished steps."""

    checkpoints: list[str] = field(default_factory=list)
    inputs: int = 0
    steps: Steps = field(default_factory=Counter)


@dataclass(frozen=True)
class Trial:
    """A run that was killed, and how it ended."""

    kills: int
    finished: bool
    same_answer: bool
    steps_lost: int
    seconds: float  # of the process that finished

    def good(self) -> bool:
        """Whether nothing was lost."""
        return self.finished and self.same_answer and not self.steps_lost


@dataclass(frozen=True)
class Reference:
    """The run in peace."""

    result: dict[str, Any]
    steps: Steps
    seconds: float


class KillTest:
    """Runs one research command in one folder of state files."""

    def __init__(self, question: str, docs: Sequence[Path], folder: Path, seed: int) -> None:
        self.question = question
        self.docs = docs
        self.folder = folder
        self.chance = random.Random(seed)

    def reference(self) -> Reference:
        """Run in peace; once more where the first run had to make the index."""
        for name in ("first", "again"):
            state = self._state(name)
            ended = self._run(state)
            if ended.result is None:
                raise TrialError(f"the run in peace did not finish: {ended.said}")
            if " new or changed" not in ended.said:
                break
        else:
            raise TrialError("the documents changed while the index was made")
        stored = read_history(state)
        if stored.steps != ended.executed():
            raise TrialError(f"history {stored.steps} differs from progress {ended.executed()}")
        return Reference(_comparable(ended.result), stored.steps, ended.seconds)

    def trial(self, name: str, reference: Reference, longest: float) -> Trial:
        """Kill within `longest` seconds, once or twice, finish, compare.

        `kills` is 0, and `seconds` what the run took, where it was quicker than its moment.
        """
        state, kills, lost, before = self._state(name), 0, 0, Stored()
        wanted = 2 if self.chance.random() < SECOND_KILL else 1
        while True:
            # What is left to do after a kill is shorter.
            moment = self.chance.uniform(0, longest / (kills + 1)) if kills < wanted else None
            ended = self._run(state, moment)
            executed_again = before.steps + ended.executed() - reference.steps
            lost += executed_again.total()
            now = read_history(state)
            lost += _missing(before, now)
            if not ended.killed:
                break
            kills, before = kills + 1, now
            say(f"{name}: killed after {moment:.1f} s with {_listed(now.steps)} on disk")
        lost += (reference.steps - now.steps).total() + max(0, now.inputs - 1)
        finished = ended.result is not None
        same = ended.result is not None and _comparable(ended.result) == reference.result
        if not finished:
            say(f"{name}: did not finish: {ended.said}")
        return Trial(kills, finished, same, lost, ended.seconds)

    def _state(self, name: str) -> Path:
        folder = self.folder / name.replace(" ", "-")
        folder.mkdir()
        return folder / "runs.sqlite"

    def _run(self, state: Path, kill_after: float | None = None) -> Ended:
        argv = [sys.executable, "-m", "graphs.research", self.question, "--json"]
        argv += [part for path in self.docs for part in ("--docs", str(path))]
        limit = LIMIT_SECONDS if kill_after is None else kill_after
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*argv, "--state", str(state)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        out, said = finish_or_kill(process, limit)
        seconds = time.perf_counter() - begun
        answered = out.endswith("\n")
        killed = kill_after is not None and process.returncode == -signal.SIGKILL and not answered
        return Ended(killed, json.loads(out) if answered else None, said, seconds)


def finish_or_kill(process: "subprocess.Popen[str]", seconds: float) -> tuple[str, str]:
    """What a process that leads its group says to its end, or to its SIGKILL after `seconds`."""
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def read_history(state: Path) -> Stored:
    """The history of the one thread of a state file, read from a copy.

    A copy, because opening a killed process's file recovers its log, which is the command's task.
    """
    from graphs.persistence import RunStore
    from graphs.research import build_research_graph
    from graphs.wiring import DeferredTeam

    if not state.exists():
        return Stored()
    with tempfile.TemporaryDirectory() as folder:
        for file in (state, state.with_name(state.name + "-wal")):
            if file.exists():
                shutil.copy(file, folder)
        with RunStore(Path(folder) / state.name) as store:
            newest = next(store.saver.list(None, limit=1), None)
            if newest is None:
                return Stored()
            graph = build_research_graph(DeferredTeam(_no_team).as_team(), store.saver)
            thread = newest.config["configurable"]["thread_id"]
            history = list(graph.get_state_history({"configurable": {"thread_id": thread}}))
    history.reverse()
    done = [
        _label(task.name, _sub_question(task.result) if task.name == "search" else "")
        for snapshot in history
        for task in snapshot.tasks
        if task.result is not None and task.name != "__start__"
    ]
    return Stored(
        checkpoints=[shot.config["configurable"]["checkpoint_id"] for shot in history],
        inputs=sum((shot.metadata or {}).get("source") == "input" for shot in history),
        steps=Counter(done),
    )


def _no_team() -> NoReturn:
    raise AssertionError("reading a history runs no step")


def _label(step: str, sub_question: str) -> str:
    return f"search {sub_question!r}" if step == "search" else step


def _sub_question(result: Any) -> str:
    return " ".join(result["notes"][0].sub_question.split())


def _missing(before: Stored, now: Stored) -> int:
    """Checkpoints and finished steps that were there before and are no longer."""
    kept = now.checkpoints[: len(before.checkpoints)]
    gone = sum(old not in kept for old in before.checkpoints)
    return gone + (before.steps - now.steps).total()


def _comparable(result: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in result.items() if name not in ("timings", "thread_id")}


def _listed(steps: Steps) -> str:
    return ", ".join(steps.elements()) or "nothing"


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def run_trials(test: KillTest, wanted: int) -> list[Trial]:
    """Trials until `wanted` of them were killed; one that was quicker counts only if it failed."""
    reference = test.reference()
    say(f"reference: {reference.seconds:.1f} s, {_listed(reference.steps)}")
    longest, trials = reference.seconds, list[Trial]()
    for number in range(1, 4 * wanted + 1):
        if len(trials) == wanted:
            break
        trial = test.trial(f"trial {number}", reference, longest)
        if trial.kills == 0 and trial.good():
            longest = min(longest, trial.seconds)  # other work on the machine has ended
            say(f"trial {number}: finished before its moment, drawn again")
            continue
        verdict = "good" if trial.good() else f"FAILED {trial}"
        say(f"trial {number}: {trial.kills} kill(s), finished: {verdict}")
        trials.append(trial)
    return trials


def main(argv: Sequence[str] | None = None) -> int:
    """Run the test; returns the exit code."""
    parser = argparse.ArgumentParser(prog="kill_test", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=10, help="runs to kill (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (default: 0)")
    parser.add_argument("--question", default=QUESTION, help=f"default: {QUESTION}")
    parser.add_argument(
        "--docs", type=Path, action="append", help="folder or file; may be repeated (samples)"
    )
    given = parser.parse_args(argv)
    if given.kills < 1:
        parser.error(f"--kills {given.kills}: give a number from 1")
    docs = [path.resolve() for path in given.docs or [ROOT / "samples"]]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kill-test-") as folder:
        try:
            test = KillTest(given.question, docs, Path(folder), given.seed)
            trials = run_trials(test, given.kills)
        except TrialError as error:
            say(f"error: {error}")
            return 1
    shown = {
        "trials": len(trials),
        "kills": sum(trial.kills for trial in trials),
        "finished": sum(trial.finished for trial in trials),
        "same_answer": sum(trial.same_answer for trial in trials),
        "steps_lost": sum(trial.steps_lost for trial in trials),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    print(json.dumps(shown))
    return 0 if len(trials) == given.kills and all(trial.good() for trial in trials) else 1


if __name__ == "__main__":
    sys.exit(main())
