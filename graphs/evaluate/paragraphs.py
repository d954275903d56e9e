"""Questions in SQuAD layout as a judged corpus: a question looks for its own paragraph."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from graphs.errors import UserError
from graphs.evaluate.beir import Corpus, Text
from graphs.squad import Example, read_examples
from retrievers.language import detect


def paragraph_corpus(data: Sequence[Path], ask: Sequence[Path] | None, language: str) -> Corpus:
    """All paragraphs of `data`, and the questions of `ask` that are in `language` (ISO 639-1).

    Questions without an answer are left out: nothing is to be found for them. `ask` None asks
    those of all files; its paragraphs join the corpus.

    Raises:
        UserError: a file is missing or in another layout, or no question is left.
    """
    files = list(dict.fromkeys([*data, *(ask or ())]))
    read = {file: read_examples(file.expanduser()) for file in files}
    docs = {
        _id(example): Text("", example.context)
        for examples in read.values()
        for example in examples
        if example.context
    }
    asked = [
        (f"{file.name}:{example.id}", example)
        for file in ask or files
        for example in read[file]
        if example.answers and example.context and detect(example.question) == language
    ]
    if not asked:
        raise UserError(f"no question in {language!r} with an answer: give other files to --data")
    return Corpus(
        name="paragraphs",
        split=language,
        docs=docs,
        queries={id_: example.question for id_, example in asked},
        qrels={id_: {_id(example): 1} for id_, example in asked},
    )


def _id(example: Example) -> str:
    return hashlib.sha256(example.context.encode("utf-8", "surrogatepass")).hexdigest()[:16]
