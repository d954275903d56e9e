"""Indexing a folder end to end, ours against the LangChain way, and what each then finds.

    python -m benchmarks.index_speed PAGES.jsonl.gz --python RIVALS/bin/python --json speed.json

PAGES holds one page a line: {"_id", "title", "text"}, such as the Python documentation. Each page
becomes a text file. In every round each contender starts a new process, reads, cuts, embeds and
saves the index to an empty folder: loader, RecursiveCharacterTextSplitter, HuggingFaceEmbeddings
and FAISS on one side, `update_index` on the other, with the same sentence encoder. RIVALS is an
environment with langchain-community, langchain-huggingface, langchain-text-splitters,
sentence-transformers and faiss-cpu.

The questions are the headings of the pages under faq/ that end in a question mark. They are taken
out of the text first, so that only the answer can be found: a hit is a passage that holds the
beginning of the answer. With --json, rounds that the file already holds are not run again. The
last line of stdout is JSON. Exit code 1 where ours is below twice as fast, or finds fewer
answers.
"""

import argparse
import gzip
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from llm_core.bench.measure import Spread, ratio
from llm_core.bench.report import show, table
from llm_core.catalogue import EMBEDDINGS
from llm_core.errors import ModelError
from llm_core.loading import resolve
from llm_core.threads import core_count

OURS: Final = "ours"
LANGCHAIN: Final = "LangChain"
MUST: Final = 2.0  # times as fast
K: Final = 10
ANSWER: Final = 120  # characters of an answer that a passage must hold
_BREAK: Final = re.compile(r"\n\s*\n")
_HERE: Final = Path(__file__).resolve().parent
# The layout that sentence-transformers publishes this kind of encoder in.
_MODULES: Final = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {
        "idx": 2,
        "name": "2",
        "path": "2_Normalize",
        "type": "sentence_transformers.models.Normalize",
    },
]


@dataclass(frozen=True)
class Question:
    """A question and how its answer begins, with single spaces."""

    text: str
    answer: str


@dataclass(frozen=True)
class Built:
    """One indexing run: seconds on the clock and of the processor, and pieces of text."""

    wall: float
    cpu: float
    pieces: int


class BenchmarkError(Exception):
    """Something the caller can mend."""


def write_pages(file: Path, folder: Path, limit: int | None) -> list[Question]:
    """Write the pages as text files into `folder`; returns the questions taken out of them.

    Pages under faq/ come first where `limit` asks for fewer than all.
    """
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        pages = [json.loads(line) for line in lines]
    pages.sort(key=lambda page: ("faq/" not in page["_id"], page["_id"]))
    questions: list[Question] = []
    for page in pages[:limit]:
        text = page["text"]
        if "faq/" in page["_id"]:
            text, found = without_questions(text)
            questions += found
        name = re.sub(r"[^\w./-]+", "_", page["_id"]).removesuffix(".html") + ".txt"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return questions


def without_questions(text: str) -> tuple[str, list[Question]]:
    """A page without its question headings, and these with the beginnings of their answers."""
    blocks = _BREAK.split(text)
    kept: list[str] = []
    questions: list[Question] = []
    for at, block in enumerate(blocks):
        follows = blocks[at + 1] if at + 1 < len(blocks) else ""
        if block.endswith("?") and "\n" not in block and len(block) < 150:
            if follows and not follows.endswith("?"):
                questions.append(Question(block, " ".join(follows.split())[:ANSWER]))
        else:
            kept.append(block)
    return "\n\n".join(kept), questions


def ranks(found: Sequence[Sequence[str]], questions: Sequence[Question]) -> list[int]:
    """The rank, from 1, of the first passage that holds each answer's beginning; 0 for none."""
    return [
        next((at for at, text in enumerate(texts, 1) if one.answer in " ".join(text.split())), 0)
        for texts, one in zip(found, questions, strict=True)
    ]


def recalls(found: Sequence[int]) -> dict[str, float]:
    """Recall at 1, 5 and 10, and the mean reciprocal rank."""
    count = len(found)
    at = {f"recall@{k}": sum(0 < rank <= k for rank in found) / count for k in (1, 5, K)}
    return {**at, "mrr@10": sum(1 / rank for rank in found if rank) / count}


def difference(ours: Sequence[int], theirs: Sequence[int], seed: int) -> dict[str, list[float]]:
    """Ours minus theirs for each measure: the mean and its bootstrap interval of 95 %."""
    chance, pairs = random.Random(seed), list(zip(ours, theirs, strict=True))
    draws = [chance.choices(pairs, k=len(pairs)) for _ in range(2000)]
    found: dict[str, list[float]] = {}
    for name in recalls(ours):
        gaps = sorted(
            recalls([a for a, _ in draw])[name] - recalls([b for _, b in draw])[name]
            for draw in draws
        )
        mean = recalls(ours)[name] - recalls(theirs)[name]
        found[name] = [mean, gaps[len(gaps) // 40], gaps[-len(gaps) // 40]]
    return found


class Contenders:
    """Runs both ways over one folder of text files."""

    def __init__(self, python: str, docs: Path, scratch: Path, threads: int) -> None:
        self.docs, self.scratch, self.threads = docs, scratch, threads
        model = resolve(EMBEDDINGS, kind="embeddings")
        self._models = {OURS: str(model), LANGCHAIN: str(_published(model, scratch))}
        self._commands = {
            OURS: [sys.executable, "-m", "benchmarks.index_speed_ours"],
            LANGCHAIN: [python, str(_HERE / "index_speed_langchain.py")],
        }

    def build(self, name: str) -> Built:
        """Index into an empty folder, in a new process."""
        index = self._index(name)
        shutil.rmtree(index, ignore_errors=True)
        began = time.perf_counter()
        before = os.times()
        out = self._run(name, "build", str(self.docs), str(index), self._models[name])
        after = os.times()
        cpu = after.children_user - before.children_user
        cpu += after.children_system - before.children_system
        return Built(time.perf_counter() - began, cpu, int(out))

    def search(self, name: str, questions: Sequence[Question]) -> list[list[str]]:
        """The texts found for each question in the index that was built last."""
        file = self.scratch / "questions.json"
        file.write_text(json.dumps([one.text for one in questions]), encoding="utf-8")
        index, model = str(self._index(name)), self._models[name]
        found: list[list[str]] = json.loads(
            self._run(name, "search", str(file), index, model, str(K))
        )
        return found

    def _index(self, name: str) -> Path:
        return self.scratch / f"index-{name}"

    def _run(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [*self._commands[name], *arguments],
            cwd=_HERE.parent,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(self.threads),
                "HF_HUB_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false",
            },
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise BenchmarkError(f"{name} failed: {last[-1]}")
        return done.stdout.strip().splitlines()[-1]


def _published(model: Path, scratch: Path) -> Path:
    """The encoder in the folder layout that sentence-transformers reads."""
    folder = scratch / "model"
    if folder.exists():
        return folder
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "2_Normalize").mkdir()
    for file in model.iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file.resolve())
    size = json.loads((model / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    for name, facts in (
        ("modules.json", _MODULES),
        ("sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False}),
        (
            "1_Pooling/config.json",
            {"word_embedding_dimension": size, "pooling_mode_mean_tokens": True},
        ),
    ):
        if not (folder / name).exists():
            (folder / name).write_text(json.dumps(facts), encoding="utf-8")
    return folder


def measure(given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Every value of every round, those of the file of --json included."""
    docs = scratch / "docs"
    questions = write_pages(given.pages, docs, given.limit)
    files = sum(path.is_file() for path in docs.rglob("*"))
    report: dict[str, Any] = {"files": files, "questions": len(questions), "rounds": {}}
    if given.json and given.json.exists():
        held = json.loads(given.json.read_text(encoding="utf-8"))
        if held.get("files") == files:
            report = held
    rounds: dict[str, list[Any]] = report["rounds"]
    contenders = Contenders(given.python, docs, scratch, given.threads)
    for number in range(given.rounds):
        names = (OURS, LANGCHAIN) if number % 2 else (LANGCHAIN, OURS)
        for name in names:
            if len(rounds.setdefault(name, [])) > number:
                continue
            built = contenders.build(name)
            _say(f"round {number + 1}: {name} {built.wall:.0f} s, {built.cpu:.0f} s of processor")
            rounds[name].append(asdict(built))
            if questions and name not in report.setdefault("ranks", {}):
                report["ranks"][name] = ranks(contenders.search(name, questions), questions)
            if given.json:
                given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def lines(report: Mapping[str, Any], seed: int) -> Iterator[str]:
    """The report as Markdown."""
    rounds = {name: report["rounds"][name] for name in (OURS, LANGCHAIN)}
    yield f"{report['files']} files, {report['questions']} questions"
    rows = []
    for name, runs in rounds.items():
        found = recalls(report["ranks"][name]) if name in report.get("ranks", {}) else {}
        rows.append(
            [
                name,
                show(Spread.of([run["wall"] for run in runs])),
                show(Spread.of([run["cpu"] for run in runs])),
                f"{statistics.median(run['pieces'] for run in runs):.0f}",
                *(f"{value:.3f}" for value in found.values()),
            ]
        )
    head = ["", "seconds", "of processor", "pieces", "recall@1", "recall@5", "recall@10", "MRR@10"]
    yield from table(head, rows)
    for what in ("wall", "cpu"):
        times = _times(report, what)
        yield f"{what}: ours is {show(times, 2)}x as fast; must be {MUST:g}x"
    if report.get("ranks"):
        for name, (mean, low, high) in _gaps(report, seed).items():
            yield f"{name}: ours {mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _times(report: Mapping[str, Any], what: str) -> Spread:
    ours, theirs = ([run[what] for run in report["rounds"][name]] for name in (OURS, LANGCHAIN))
    return ratio(theirs, ours)


def _gaps(report: Mapping[str, Any], seed: int) -> dict[str, list[float]]:
    return difference(report["ranks"][OURS], report["ranks"][LANGCHAIN], seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = _arguments(argv)
    with tempfile.TemporaryDirectory(prefix="index-speed-") as folder:
        try:
            report = measure(given, Path(folder))
        except (BenchmarkError, ModelError, OSError) as error:
            _say(f"error: {error}")
            return 2
    times = _times(report, "wall").median
    gaps = _gaps(report, given.seed) if report.get("ranks") else {}
    print("\n".join(lines(report, given.seed)))
    print(json.dumps({"times": round(times, 2), "gaps": gaps}))
    return int(times < MUST or any(mean < 0 for mean, _, _ in gaps.values()))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.index_speed",
        description="Indexing a folder end to end, ours against the LangChain way.",
    )
    parser.add_argument("pages", type=Path, help="pages, one JSON object a line, gzipped")
    parser.add_argument("--python", default=sys.executable, help="Python that has the rivals")
    parser.add_argument("--limit", type=int, help="pages to take (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=core_count())
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every value there")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
