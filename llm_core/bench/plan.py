"""What a run of the benchmark measures, with whom, and the files the rivals need."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_core.bench import rounds
from llm_core.bench.contender import Contender, Recipe, has_modules
from llm_core.bench.files import RivalFiles, random_adapter
from llm_core.bench.measure import Watch, machine
from llm_core.bench.report import OURS
from llm_core.bench.text import Prompts, paragraphs
from llm_core.errors import ModelError

PARTS = ("speed", "prefix", "adapter", "queue", "fresh", "embeddings", "divergence")
EAGER = f"{OURS} torch bfloat16"
TRANSFORMERS = "transformers bfloat16"
REFERENCE = "transformers float32"
WORKERS = "llm_core.bench"
_RANK = 16
_SHORT = 48  # tokens that are generated in turns which alternate quickly
_LOOK_SECONDS = 1.0  # that the machine is watched before anything is measured


@dataclass(frozen=True)
class Plan:
    """The choices of one run.

    `python` is a Python with the rivals, None where only our own models run; `text` is what
    prompts and paragraphs are taken from.
    """

    folder: Path
    python: str | None
    threads: int
    text: str
    parts: Sequence[str] = PARTS
    rounds: int = 5
    lengths: Sequence[int] = (128, 512, 2048)
    generate: int = 128
    kinds: Sequence[str] = ("stored", "Q4_0", "Q8_0")  # llama.cpp files
    paragraphs: int = 1000
    shared: tuple[int, int] = (1500, 100)  # tokens shared and tokens new
    requests: int = 8

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise ModelError(f"there is no part {unknown[0]!r}: give {', '.join(PARTS)}")


class Bench:
    """One run of a plan; `say` is told what happens."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        from llm_core.tokenizer import TextTokenizer

        self.plan = plan
        self._say = say
        tokens = TextTokenizer(plan.folder, 0).encode(plan.text, marks=False)
        self._setting = rounds.Setting(Prompts(tokens), plan.rounds, say)
        self._report: dict[str, Any] = {
            "machine": machine(),
            "model": plan.folder.name,
            "threads": plan.threads,
            "rounds": plan.rounds,
            "generate": plan.generate,
        }

    def run(self) -> dict[str, Any]:
        """Measure; the report that `report.lines` lays out."""
        before = Watch()
        before.start([])
        time.sleep(_LOOK_SECONDS)
        before.stop([])
        if before.warning():
            self._say(f"warning: {before.warning()}")
        with tempfile.TemporaryDirectory(prefix="deerstalker-bench-") as folder:
            scratch = Path(folder)
            files = RivalFiles(self.plan.folder, scratch, self._say)
            if set(self.plan.parts) - {"embeddings"}:
                self._chat_models(files, scratch)
            if "embeddings" in self.plan.parts:
                self._embeddings(scratch)
        self._report["other_work"] = self._setting.watch.share
        self._report["warning"] = self._setting.watch.warning()
        return self._report

    def _chat_models(self, files: RivalFiles, scratch: Path) -> None:
        recipes = [*self._ours(), *self._rivals(files)]
        if set(self.plan.parts) - {"embeddings", "fresh"}:
            self._running(recipes, files, scratch)
        if "fresh" in self.plan.parts:
            self._report["fresh"] = rounds.fresh(self._setting, recipes, 128, 32)

    def _ours(self) -> list[Recipe]:
        base = {"path": str(self.plan.folder), "threads": self.plan.threads}
        return [
            Recipe(OURS, f"{WORKERS}.ours", {**base, "dtype": "auto"}),
            Recipe(EAGER, f"{WORKERS}.ours", {**base, "dtype": "bfloat16"}),
        ]

    def _rivals(self, files: RivalFiles) -> list[Recipe]:
        plan, found = self.plan, list[Recipe]()
        if self._has("llama_cpp"):
            found += files.llama(plan.kinds, plan.threads, self._window(), str(plan.python))
        if self._has("transformers", "torch"):
            path = str(files.floats("bfloat16"))
            load = {"path": path, "dtype": "bfloat16", "threads": plan.threads}
            found.append(
                Recipe(TRANSFORMERS, f"{WORKERS}.transformers_worker", load, str(plan.python))
            )
        return found

    def _window(self) -> int:
        return max(*self.plan.lengths, sum(self.plan.shared)) + self.plan.generate

    def _running(self, recipes: Sequence[Recipe], files: RivalFiles, scratch: Path) -> None:
        """What is asked of contenders that all have their model loaded."""
        parts: dict[str, Callable[[list[Contender]], Any]] = {
            "speed": self._speeds,
            "prefix": self._prefix,
            "adapter": lambda running: self._adapter(running[0], scratch),
            "queue": lambda running: self._queue(running[0]),
            "divergence": lambda running: self._divergence(running, files, scratch),
        }
        with rounds.started(recipes, self._say) as running:
            self._report["contenders"] = {one.name: _about(one) for one in running}
            for part, measure in parts.items():
                if part in self.plan.parts:
                    self._report[part] = measure(running)

    def _speeds(self, running: list[Contender]) -> dict[str, Any]:
        generate = self.plan.generate
        return {
            str(length): rounds.speeds(self._setting, running, length, generate)
            for length in self.plan.lengths
        }

    def _prefix(self, running: list[Contender]) -> dict[str, Any]:
        shared, tail = self.plan.shared
        able = [one for one in running if "prefix" in one.operations]
        times = rounds.shared_prefix(self._setting, able, shared, tail)
        return {"shared": shared, "tail": tail, **times}

    def _adapter(self, ours: Contender, scratch: Path) -> rounds.Series:
        folder = random_adapter(self.plan.folder, scratch / "adapter", _RANK)
        return rounds.adapters(self._setting, ours, folder, 128, _SHORT)

    def _queue(self, ours: Contender) -> dict[str, Any]:
        seconds = rounds.queued(self._setting, ours, self.plan.requests, 128, 32)
        return {"requests": self.plan.requests, **seconds}

    def _divergence(
        self, running: list[Contender], files: RivalFiles, scratch: Path
    ) -> dict[str, float]:
        """Mean KL to the same weights in float32, run by transformers where there is one."""
        load = {"path": str(files.floats("float32")), "dtype": "float32"}
        load_with = {**load, "threads": self.plan.threads}
        if self._has("transformers", "torch"):
            python = str(self.plan.python)
            recipe = Recipe(REFERENCE, f"{WORKERS}.transformers_worker", load_with, python)
        else:
            recipe = Recipe(f"{OURS} float32", f"{WORKERS}.ours", load_with)
        with rounds.started([recipe], self._say) as (reference,):
            return rounds.divergence(self._setting, reference, running, scratch)

    def _has(self, *names: str) -> bool:
        """Whether the Python of the rivals has some modules; says so where one is missing."""
        if self.plan.python is None:
            return False
        found = has_modules(self.plan.python, names)
        if not found:
            self._say(
                f"{names[0]} is left out: {self.plan.python} does not have it; "
                "pip install 'deerstalker[bench]' brings all rivals"
            )
        return found

    def _embeddings(self, scratch: Path) -> None:
        from llm_core.catalogue import EMBEDDINGS
        from llm_core.loading import resolve

        plan, model = self.plan, str(resolve(EMBEDDINGS, kind="embeddings"))
        recipes = []
        if self._has("sentence_transformers"):
            for dtype in ("float32", "bfloat16"):
                load = {"path": model, "dtype": dtype, "threads": plan.threads}
                name = f"sentence-transformers {dtype}"
                recipes.append(Recipe(name, f"{WORKERS}.sentence_worker", load, str(plan.python)))
        for name, chosen in ((f"{OURS} float32", "float32"), (OURS, "auto")):
            load = {"model": model, "dtype": chosen, "threads": plan.threads}
            recipes.append(Recipe(name, f"{WORKERS}.ours_embeddings", load))
        texts = paragraphs(plan.text, plan.paragraphs)
        with rounds.started(recipes, self._say) as running:
            rate, cosine = rounds.embeddings(self._setting, running, texts, scratch)
        self._report["embeddings"] = {"texts": len(texts), "rate": rate, "cosine": cosine}


def _about(contender: Contender) -> str:
    """One line on what a contender is."""
    reply = contender.ask("about")
    return ", ".join(f"{key} {reply[key]}" for key in reply if key not in ("wall", "cpu"))
