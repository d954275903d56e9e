"""The store of an index leaves nothing of what was deleted from it."""

import hashlib
import random
import re
from pathlib import Path

from langchain_core.documents import Document

from retrievers.corpus import Corpus
from retrievers.rows import DocumentRow, NewDocument, NewPassage


def test_no_copy_of_a_row_that_was_moved_outlives_it(tmp_path: Path) -> None:
    chance, corpus, alive = random.Random(0), Corpus(tmp_path), set[str]()
    for at in range(12):
        new = [f"w{at}x{n}y" for n in range(60)]
        corpus.put_documents([as_document(name, chance) for name in new])
        alive |= set(new)
        gone = chance.sample(sorted(alive), len(alive) // 3)
        corpus.leave([hash_of(name) for name in gone])
        corpus.publish("state")
        alive -= set(gone)
        if at == 10:
            assert held_in(corpus.file) > alive  # else this test shows nothing
            corpus.wipe()
            assert held_in(corpus.file) == alive
    corpus.wipe()
    assert held_in(corpus.file) == alive
    corpus.close()


def as_document(name: str, chance: random.Random) -> NewDocument:
    text = name * chance.choice([1, 2, 5, 20, 80, 400])
    passage = Document(id=hash_of(name), page_content=text, metadata={})
    return NewDocument(
        hash_of(name), DocumentRow(text, None), name, [NewPassage(passage, hash_of(text), [text])]
    )


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def held_in(file: Path) -> set[str]:
    return {word.decode() for word in re.findall(rb"w\d+x\d+y", file.read_bytes())}
