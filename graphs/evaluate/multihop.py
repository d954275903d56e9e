"""Questions whose answer needs several paragraphs, as a corpus with relevance judgements.

HotpotQA and 2WikiMultihopQA hold `context` and `supporting_facts`, MuSiQue `paragraphs`; SQuAD
files hold one paragraph a question. All paragraphs of a file are pooled.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphs.errors import UserError
from graphs.evaluate.beir import Corpus, Text, load_beir, read_rows

Paragraph = tuple[str, str, bool]  # title, text, whether the answer needs it


def load_questions(paths: Sequence[Path], split: str = "train") -> Corpus:
    """The questions of one BEIR folder, or of files whose paragraphs are pooled.

    Raises UserError, naming file and line, where a row is of no known layout.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return load_beir(paths[0], split)
    docs: dict[str, Text] = {}
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for path in paths:
        for at, row in read_rows(path):
            needed = {}
            for title, text, gold in _paragraphs(row, at):
                id_ = hashlib.sha256(f"{title}\0{text}".encode()).hexdigest()[:16]
                docs[id_] = Text(title, text)
                if gold:
                    needed[id_] = 1
            question = row.get("question")
            if needed and isinstance(question, str) and question.strip():
                queries[at] = question
                qrels[at] = needed
    if not queries:
        raise UserError(f"{', '.join(map(str, paths))}: no question with its paragraphs")
    return Corpus("+".join(path.name.split(".")[0] for path in paths), split, docs, queries, qrels)


def _paragraphs(row: Mapping[str, Any], at: str) -> Iterator[Paragraph]:
    try:
        if "paragraphs" in row:
            for part in row["paragraphs"]:
                text = part["paragraph_text"]
                yield str(part["title"]), str(text), bool(part["is_supporting"])
        elif isinstance(row.get("context"), str):  # unanswerable ones judge nothing
            yield str(row.get("title", "")), row["context"], bool(row["answers"]["text"])
        elif "context" in row:
            needed = {fact[0] for fact in row["supporting_facts"]}
            for title, sentences in row["context"]:
                yield str(title), "".join(sentences), title in needed
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UserError(
            f"{at} is not in the layout of HotpotQA, 2WikiMultihopQA, MuSiQue or SQuAD"
        ) from error
