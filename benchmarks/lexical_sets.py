"""Questions with the passages that answer them, for lexical search: abstracts, Wikipedia, code."""

import ast
import random
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from langchain_core.documents import Document

from graphs.errors import UserError
from graphs.evaluate.beir import load_beir, read_rows

CODE = "standard library"
_LEAST_LINES = 4  # of a function
_LEAST_WORDS = 4  # of the sentence that describes it
_LEFT_OUT = {
    "dist-packages",
    "test",
    "tests",
    "site-packages",
    "idlelib",
    "lib2to3",
    "encodings",
    "turtledemo",
}


@dataclass(frozen=True)
class Judged:
    """Documents, each with an id, and questions with the grades of some of them."""

    name: str
    documents: Sequence[Document]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]

    def sample(self, limit: int | None, seed: int) -> "Judged":
        """`limit` questions drawn at random over the same documents; None is all."""
        if limit is None or limit >= len(self.queries):
            return self
        chosen = set(random.Random(seed).sample(sorted(self.queries), limit))
        kept = {id_: text for id_, text in self.queries.items() if id_ in chosen}
        return Judged(self.name, self.documents, kept, self.qrels)


def beir_set(given: str) -> Judged:
    """The corpus in FOLDER:SPLIT, a folder in the layout of BEIR."""
    folder, _, split = given.rpartition(":")
    if not folder:
        raise UserError(f"{given!r} is not FOLDER:SPLIT, such as scifact:train")
    corpus = load_beir(Path(folder), split)
    qrels = {id_: dict(corpus.qrels[id_]) for id_ in corpus.queries}
    return Judged(f"{corpus.name} {split}", corpus.documents(), dict(corpus.queries), qrels)


def paragraph_sets(files: Sequence[Path]) -> list[Judged]:
    """The questions of each file, in the layout of SQuAD rows, over the paragraphs of all.

    A file of another name than those asked for may be given for its paragraphs alone: questions
    without an answer are left out.
    """
    ids: dict[str, str] = {}
    asked: list[dict[str, tuple[str, str]]] = []
    for file in files:
        found: dict[str, tuple[str, str]] = {}
        for number, (at, row) in enumerate(read_rows(file)):
            try:
                paragraph, question = str(row["context"]), str(row["question"])
                answers = row["answers"]["text"]
            except (KeyError, TypeError) as error:
                raise UserError(f"{at} has no context, question and answers") from error
            id_ = ids.setdefault(paragraph, f"p{len(ids)}")
            if answers:
                found[str(number)] = (question, id_)
        asked.append(found)
    documents = [Document(id=id_, page_content=text) for text, id_ in ids.items()]
    return [
        Judged(
            file.name.split(".")[0],
            documents,
            {id_: question for id_, (question, _) in found.items()},
            {id_: {paragraph: 1} for id_, (_, paragraph) in found.items()},
        )
        for file, found in zip(files, asked, strict=True)
    ]


def code_set(library: Path | None = None) -> Judged:
    """The functions of this Python's standard library, to be found by what they say they do.

    A question is the first sentence of a docstring, which is cut out of the function. `library`
    is another folder of Python files.
    """
    library = library or Path(sysconfig.get_paths()["stdlib"])
    files = [
        file
        for place in sorted(library.iterdir())
        if place.name not in _LEFT_OUT
        for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])
        if file.suffix == ".py" and not _LEFT_OUT & set(file.relative_to(library).parts)
    ]
    found = [pair for file in files for pair in _functions(file)]
    documents = [Document(id=str(n), page_content=code) for n, (_, code) in enumerate(found)]
    queries = {str(n): sentence for n, (sentence, _) in enumerate(found)}
    return Judged(CODE, documents, queries, {id_: {id_: 1} for id_ in queries})


def _functions(file: Path) -> Iterator[tuple[str, str]]:
    """The first sentence of the docstring of each function, and the function without it."""
    try:
        source = file.read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (OSError, ValueError, SyntaxError):
        return
    lines = source.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or len(node.body) < 2:
            continue
        sentence = (ast.get_docstring(node) or "").split("\n\n")[0].split(". ")[0]
        doc = node.body[0]
        code = [*lines[node.lineno - 1 : doc.lineno - 1], *lines[doc.end_lineno : node.end_lineno]]
        if len(sentence.split()) >= _LEAST_WORDS and len(code) >= _LEAST_LINES:
            yield " ".join(sentence.split()), "\n".join(code)
