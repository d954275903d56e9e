"""What is asked of what, and where its files lie: the same plan always has the same folder."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from graphs.errors import UserError
from graphs.evaluate.scoring import Task
from graphs.squad import Example, read_examples, sample, write_corpus

PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class Plan:
    """One evaluation. `docs` empty: the corpus is all paragraphs of the data."""

    data: Path
    data_hash: str
    limit: int | None
    seed: int
    docs: tuple[Path, ...]
    answers_apply: bool
    model: str
    base_url: str | None
    embeddings: str
    work: Path

    @property
    def folder(self) -> Path:
        """Where the rows of this plan are kept."""
        known = {**self.as_json(), "work": None}
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        return self.work / f"run-{digest[:12]}"

    @property
    def corpus(self) -> Path:
        """Where the paragraphs lie as files; shared by the plans over the same data."""
        return self.work / f"corpus-{self.data_hash[:12]}"

    def as_json(self) -> dict[str, Any]:
        """The plan with its paths as text."""
        values = asdict(self)
        paths = {"data": str(self.data), "work": str(self.work), "docs": [*map(str, self.docs)]}
        return {**values, **paths}

    def settings(self) -> dict[str, Any]:
        """What a reader of the results must know: names, no machine's paths."""
        return {
            "data": self.data.name,
            "data_sha256": self.data_hash,
            "limit": self.limit,
            "seed": self.seed,
            "corpus": "documents" if self.docs else "paragraphs",
            "docs": [path.name for path in self.docs],
            "answers_apply": self.answers_apply,
            "model": self.model,
            "base_url": self.base_url,
            "embeddings": self.embeddings,
        }

    def write(self) -> None:
        """Keep the plan in its folder, for the processes that carry it out."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.as_json(), indent=2)
            (self.folder / PLAN_FILE).write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"cannot write {self.folder} ({error.strerror}): give another folder with --work"
            ) from error

    def tasks(self) -> list[Task]:
        """The sampled questions in the order they are asked."""
        chosen = sample(self._examples(), self.limit, self.seed)
        return [
            Task(example, example.answers if self.answers_apply else (), own_files=not self.docs)
            for example in chosen
        ]

    def documents(self) -> tuple[Path, ...]:
        """The corpus: the documents given, or the paragraphs, written as files."""
        if self.docs:
            return self.docs
        files, done = self.corpus / "files", self.corpus / "complete"
        if not done.exists():
            write_corpus(self._examples(), files)
            done.touch()
        return (files,)

    def index(self) -> Path | None:
        """The index folder of the paragraphs; None: the usual one of the documents."""
        return None if self.docs else self.corpus / "index"

    def _examples(self) -> list[Example]:
        return read_examples(self.data)


def read_plan(folder: Path) -> Plan:
    """The plan that `Plan.write` kept in `folder`."""
    values = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
    docs = tuple(Path(path) for path in values["docs"])
    return Plan(
        **{**values, "data": Path(values["data"]), "work": Path(values["work"]), "docs": docs}
    )


def checked(plan: Plan) -> Plan:
    """The plan with absolute paths and the hash of its data.

    Raises:
        UserError: there is no such data, it holds no question, or nothing to search.
    """
    if plan.limit is not None and plan.limit < 1:
        raise UserError(f"--limit {plan.limit} asks nothing: give 1 or more")
    for path in plan.docs:
        if not path.exists():
            raise UserError(f"there is no file or folder {path}: mend the path given to --docs")
    examples = read_examples(plan.data)
    if not examples:
        raise UserError(f"{plan.data} holds no question: give questions in SQuAD layout (JSONL)")
    if not plan.docs and not any(example.context for example in examples):
        raise UserError(f"{plan.data} holds no paragraph to search: name documents with --docs")
    return replace(
        plan,
        data=plan.data.absolute(),
        data_hash=hashlib.sha256(plan.data.read_bytes()).hexdigest(),
        docs=tuple(path.absolute() for path in plan.docs),
        work=plan.work.absolute(),
    )
