"""The LangChain way to index a folder, for `benchmarks.index_speed`: run by the rivals' Python.

    python index_speed_langchain.py build DOCS INDEX MODEL
    python index_speed_langchain.py search QUESTIONS INDEX MODEL K

DirectoryLoader, RecursiveCharacterTextSplitter (1,000 characters, 200 of overlap, as in the
tutorials), HuggingFaceEmbeddings and FAISS, saved to disk. `search` reads a JSON list of questions
and prints a JSON list of the K texts found for each; `build` prints the number of chunks.
"""

import json
import sys
from pathlib import Path
from typing import Any


def embeddings(model: str) -> Any:
    """The same sentence encoder, as its users load it."""
    from langchain_huggingface import HuggingFaceEmbeddings

    return HuggingFaceEmbeddings(model_name=model)


def build(docs: str, index: str, model: str) -> int:
    """Load, split, embed and save; returns how many chunks there are."""
    from langchain_community.document_loaders import DirectoryLoader, TextLoader
    from langchain_community.vectorstores import FAISS
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    loader = DirectoryLoader(
        docs, glob="**/*.txt", loader_cls=TextLoader, loader_kwargs={"encoding": "utf-8"}
    )
    splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
    chunks = splitter.split_documents(loader.load())
    FAISS.from_documents(chunks, embeddings(model)).save_local(index)
    return len(chunks)


def search(questions: str, index: str, model: str, k: int) -> list[list[str]]:
    """The texts of the `k` nearest chunks to each question, best first."""
    from langchain_community.vectorstores import FAISS

    store = FAISS.load_local(index, embeddings(model), allow_dangerous_deserialization=True)
    asked = json.loads(Path(questions).read_text(encoding="utf-8"))
    return [[d.page_content for d in store.similarity_search(text, k=k)] for text in asked]


if __name__ == "__main__":
    what, first, folder, path, *rest = sys.argv[1:]
    if what == "build":
        print(build(first, folder, path))
    else:
        print(json.dumps(search(first, folder, path, int(rest[0]))))
