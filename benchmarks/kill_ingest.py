"""Kill the indexing command at random moments; one finishing run must give the index of peace.

    python -m benchmarks.kill_ingest --kills 20 --seed 0

A book is cut into small files. Before each run some of them are added, changed or removed, and
every text written has a word that stands nowhere else. The command then gets SIGKILL, with all its
processes, at a random moment of the time that a run takes. After the last kill it runs once to its
end, and another index is built of the same files without a disturbance. Progress goes to stderr,
one JSON object to stdout:

- kills: SIGKILLs sent to a run that had not ended; by_stage: what it said last before;
- equal: whether both indexes hold the same rows, vectors and search structures, byte by byte;
- left: words of texts that are gone and can still be read in the folder of the index;
- seconds: of the whole test.

Exit code 1 where the indexes differ or a word is left.
"""

import argparse
import hashlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.kill_test import finish_or_kill

ROOT: Final = Path(__file__).resolve().parents[1]
BOOK: Final = ROOT / "samples" / "the-adventures-of-sherlock-holmes.txt"
PIECE: Final = 2500  # characters of a file
CHANGED: Final = 0.3  # share of the files that is touched before a run
LIMIT_SECONDS: Final = 1800.0
STAGES: Final = ("starting", "waiting", "checking", "reading", "embedding", "writing")


class RunError(Exception):
    """A run that was to finish and did not."""


def content(index: Path) -> dict[str, object]:
    """All that an index holds, apart from stamps and places of files: rows, hashes of the rest."""
    with sqlite3.connect(index / "corpus.sqlite") as connection:
        tables = {
            "meta": "SELECT * FROM meta WHERE key NOT IN ('root', 'paths') ORDER BY key",
            "files": "SELECT source, sha256 FROM files ORDER BY source",
            "documents": "SELECT * FROM documents ORDER BY sha256",
            "texts": "SELECT * FROM texts ORDER BY hash",
            "passages": "SELECT * FROM passages ORDER BY id",
        }
        rows: dict[str, object] = {
            name: connection.execute(query).fetchall() for name, query in tables.items()
        }
    connection.close()
    for file in sorted((index / "generations").rglob("*")):
        if file.is_file():
            name = file.relative_to(index).as_posix()
            rows[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return rows


class Files:
    """A folder of small texts that changes between runs."""

    def __init__(self, folder: Path, book: str, count: int, chance: random.Random) -> None:
        self.folder, self._book, self._chance = folder, book, chance
        self._words: dict[Path, str] = {}
        self.gone: set[str] = set()  # words of texts that were overwritten or removed
        self._written = 0
        folder.mkdir()
        for _ in range(count):
            self._write(self._free())

    def change(self) -> None:
        """Add, change and remove some of the files."""
        some = [f for f in sorted(self._words) if self._chance.random() < CHANGED]
        for file in some:
            what = self._chance.choice(("change", "remove", "add"))
            if what != "add":
                self.gone.add(self._words.pop(file))
                file.unlink()
            if what != "remove":
                self._write(file if what == "change" else self._free())
        if not self._words:
            self._write(self._free())

    def _free(self) -> Path:
        """A name that no file has."""
        return self.folder / f"{self._written:04}.txt"

    def _write(self, file: Path) -> None:
        at = self._chance.randrange(max(1, len(self._book) - PIECE))
        word = f"zq{self._written:04}{self._chance.randrange(16**6):06x}"
        file.write_text(f"{word}\n\n{self._book[at : at + PIECE]}\n\n{word}", encoding="utf-8")
        self._words[file] = word
        self._written += 1


def words_left(index: Path, words: set[str]) -> list[str]:
    """Which of `words` can be read in a file of the folder `index`."""
    data = [file.read_bytes() for file in index.rglob("*") if file.is_file()]
    return sorted(word for word in words if any(word.encode() in one for one in data))


def run_build(docs: Path, index: Path, kill_after: float | None = None) -> tuple[bool, str, float]:
    """Bring `index` up to date with `docs`: whether it was killed, its last stage, its seconds.

    Raises:
        RunError: it ended with an error.
    """
    argv = [sys.executable, "-m", "graphs.index", "build", "--deterministic"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*argv, "--docs", str(docs), "--index", str(index)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _, said = finish_or_kill(process, kill_after or LIMIT_SECONDS)
    killed = kill_after is not None and process.returncode == -signal.SIGKILL
    if process.returncode and not killed:
        raise RunError(f"the run ended with {process.returncode}: {said.strip()}")
    steps = [line.split()[1] for line in said.splitlines() if line.startswith("index ")]
    stage = steps[-1] if steps else "starting"
    return killed, stage if stage in STAGES else "ending", time.perf_counter() - began


def kill_and_compare(folder: Path, book: str, given: argparse.Namespace) -> dict[str, Any]:
    """The whole test in `folder`."""
    chance = random.Random(given.seed)
    files = Files(folder / "docs", book, given.files, chance)
    index = folder / "index"
    _, _, longest = run_build(files.folder, folder / "first")  # the time that a run takes
    stages, runs = Counter[str](), 0
    while stages.total() < given.kills:
        if runs == 6 * given.kills:
            raise RunError(f"{runs} runs, and only {stages.total()} of them were killed in time")
        runs += 1
        files.change()
        killed, stage, seconds = run_build(files.folder, index, chance.uniform(0, longest))
        if killed:
            stages[stage] += 1
            say(f"kill {stages.total()}: after {seconds:.1f} s, {stage}")
        else:
            longest = seconds
    run_build(files.folder, index)
    run_build(files.folder, folder / "peace")
    held, peace = content(index), content(folder / "peace")
    return {
        "kills": stages.total(),
        "runs": runs,
        "by_stage": dict(stages),
        "files": len(held["files"]) if isinstance(held["files"], list) else 0,
        "equal": held == peace,
        "left": words_left(index, files.gone),
        "gone": len(files.gone),
    }


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the test; returns the exit code."""
    parser = argparse.ArgumentParser(prog="kill_ingest", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="kills in all (default: 20)")
    parser.add_argument("--files", type=int, default=40, help="files to begin with (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    parser.add_argument("--book", type=Path, default=BOOK, help="UTF-8 text that files are cut of")
    given = parser.parse_args(argv)
    if given.kills < 0 or given.files < 1:
        parser.error("give --kills from 0 and --files from 1")
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kill-ingest-") as folder:
        try:
            report = kill_and_compare(Path(folder), given.book.read_text(encoding="utf-8"), given)
        except (RunError, OSError) as error:
            say(f"error: {error}")
            return 1
    print(json.dumps({**report, "seconds": round(time.perf_counter() - begun, 1)}))
    return 0 if report["equal"] and not report["left"] else 1


if __name__ == "__main__":
    sys.exit(main())
