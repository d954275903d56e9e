"""Corpora with relevance judgements in the layout of BEIR (Thakur et al., 2021).

    FOLDER/corpus.jsonl         {"_id": ..., "title": ..., "text": ...} a line
    FOLDER/queries.jsonl        {"_id": ..., "text": ...} a line
    FOLDER/qrels/SPLIT.tsv      query-id, corpus-id, score; a heading line

Each file may be compressed, with .gz behind its name.
"""

import gzip
import hashlib
import json
import random
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from graphs.errors import UserError

BEIR_ID = "beir_id"  # metadata key of a document's id, for whatever joins lists by metadata


@dataclass(frozen=True, slots=True)
class Text:
    """A document of a corpus; many have no title."""

    title: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Documents, questions, and the grade of each judged document (above 0: relevant).

    `queries` holds only questions that have a relevant document, in the order of the file.
    """

    name: str
    split: str
    docs: Mapping[str, Text]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]

    def documents(self) -> list[Document]:
        """The corpus as LangChain documents, each under its id."""
        return [
            Document(
                id=id_,
                page_content=doc.text,
                metadata={"source": id_, BEIR_ID: id_, "title": doc.title},
            )
            for id_, doc in self.docs.items()
        ]

    def sample(self, limit: int | None, seed: int) -> "Corpus":
        """`limit` questions drawn at random over the same documents; None is all."""
        if limit is None or limit >= len(self.queries):
            return self
        chosen = set(random.Random(seed).sample(sorted(self.queries), limit))
        kept = {id_: text for id_, text in self.queries.items() if id_ in chosen}
        return replace(self, queries=kept)

    def digest(self) -> str:
        """Hash of documents, questions and grades, hex: other data never mixes in."""
        digest = hashlib.sha256()
        for id_, doc in self.docs.items():
            digest.update(f"{id_}\0{doc.title}\0{doc.text}\0".encode(errors="surrogatepass"))
        for id_, text in self.queries.items():
            grades = sorted(self.qrels[id_].items())
            digest.update(f"{id_}\0{text}\0{grades}\0".encode(errors="surrogatepass"))
        return digest.hexdigest()


def load_beir(folder: Path, split: str = "test") -> Corpus:
    """Read the corpus in `folder` and the judgements of `split`.

    Raises UserError, naming file and line, where something is missing or not in this layout.
    """
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}: give one with corpus.jsonl, queries.jsonl and qrels/"
        )
    docs = {
        _field(row, "_id", at): Text(str(row.get("title") or ""), _field(row, "text", at))
        for at, row in read_rows(_file(folder, "corpus.jsonl"))
    }
    asked = {
        _field(row, "_id", at): _field(row, "text", at)
        for at, row in read_rows(_file(folder, "queries.jsonl"))
    }
    place = _qrels_file(folder, split)
    qrels: dict[str, dict[str, int]] = {}
    for query, doc, grade in _judgements(place):
        qrels.setdefault(query, {})[doc] = grade
    missing = [id_ for id_ in qrels if id_ not in asked]
    if missing:
        raise UserError(f"{place} judges the question {missing[0]!r}, which queries.jsonl lacks")
    queries = {
        id_: text
        for id_, text in asked.items()
        if any(grade > 0 and doc in docs for doc, grade in qrels.get(id_, {}).items())
    }
    if not queries:
        raise UserError(f"{place} names no relevant document of the corpus for any question")
    return Corpus(folder.resolve().name, split, docs, queries, qrels)


def _file(folder: Path, name: str) -> Path:
    for place in (folder / name, folder / f"{name}.gz"):
        if place.is_file():
            return place
    raise UserError(f"{folder} has no {name} and no {name}.gz: give a folder in BEIR layout")


def _qrels_file(folder: Path, split: str) -> Path:
    qrels = folder / "qrels"
    for place in (qrels / f"{split}.tsv", qrels / f"{split}.tsv.gz"):
        if place.is_file():
            return place
    held = sorted({file.name.split(".")[0] for file in qrels.glob("*.tsv*")})
    mend = f"give --split {' or --split '.join(held)}" if held else "it holds no judgements"
    raise UserError(f"{folder} has no qrels/{split}.tsv: {mend}")


def _lines(place: Path) -> Iterator[tuple[str, str]]:
    """Each line of a text file, plain or gzip, with its address for an error."""
    opened = gzip.open if place.suffix == ".gz" else open
    try:
        with opened(place, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{place} line {number}", line
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"cannot read {place} ({error}): copy it again") from error


def read_rows(place: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each JSON object of a JSONL file, plain or gzip, with its address for an error."""
    for at, line in _lines(place):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{at} is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise UserError(f"{at} is no JSON object")
        yield at, row


def _field(row: Mapping[str, Any], name: str, at: str) -> str:
    value = row.get(name)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise UserError(f"{at} has no text under {name!r}")
    return str(value)


def _judgements(place: Path) -> Iterator[tuple[str, str, int]]:
    for row, (at, line) in enumerate(_lines(place)):
        cells = line.rstrip("\r\n").split("\t")
        try:
            query, doc, grade = cells
            yield query, doc, int(float(grade))
        except (ValueError, OverflowError):
            if row == 0 and len(cells) == 3:
                continue  # the heading
            raise UserError(
                f"{at} is not 'query-id TAB corpus-id TAB score': {line.strip()[:80]!r}"
            ) from None
