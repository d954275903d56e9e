"""Our way to index a folder, for `benchmarks.index_speed`; the arguments are those of the rival.

python -m benchmarks.index_speed_ours build DOCS INDEX MODEL
"""

import json
import sys
from pathlib import Path


def build(docs: Path, index: Path, model: str) -> int:
    """Bring the index up to date with the folder; returns how many passages there are."""
    from llm_core.embeddings import LocalEmbeddings
    from retrievers.corpus import Corpus
    from retrievers.indexing import update_index

    return update_index(Corpus(index), [docs], LocalEmbeddings(model)).passages


def search(questions: Path, index: Path, model: str, k: int) -> list[list[str]]:
    """The texts of the `k` best passages for each question, best first."""
    from llm_core.embeddings import LocalEmbeddings
    from retrievers.corpus import Corpus
    from retrievers.indexing import stored_index
    from retrievers.pipeline import HybridRetriever

    corpus = Corpus(index)
    lexical, vectors = stored_index(corpus)
    retriever = HybridRetriever(
        lexical=lexical, vectors=vectors, fetch=corpus.get, embeddings=LocalEmbeddings(model), k=k
    )
    asked = json.loads(questions.read_text(encoding="utf-8"))
    return [[d.page_content for d in retriever.invoke(text)] for text in asked]


if __name__ == "__main__":
    what, first, folder, path, *rest = sys.argv[1:]
    if what == "build":
        print(build(Path(first), Path(folder), path))
    else:
        print(json.dumps(search(Path(first), Path(folder), path, int(rest[0]))))
