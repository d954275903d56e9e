"""Vectors kept on disk between measurements."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from graphs.errors import UserError
from graphs.evaluate.vectors import BATCH, CachedEmbeddings
from tests.fakes import HashEmbeddings


class Counting(Embeddings):
    """Hash vectors that notes what it is asked; a query's vector is longer than a document's."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.inner = HashEmbeddings()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        with self.log.open("a", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in texts)
        return self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return [2 * value for value in self.embed_documents([text])[0]]

    def asked(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


def test_each_text_is_embedded_once_and_comes_back_in_order(tmp_path: Path) -> None:
    counting = Counting(tmp_path / "log")
    first = CachedEmbeddings(counting, tmp_path / "vectors")
    texts = ["goose", "bank", "goose"]
    expected = HashEmbeddings().embed_documents(texts)
    assert np.allclose(first.embed_documents(texts), expected)
    again = CachedEmbeddings(counting, tmp_path / "vectors")
    assert again.embed_documents(["bank", "stone"])[0] == pytest.approx(
        HashEmbeddings().embed_query("bank")
    )
    assert sorted(counting.asked()) == ["bank", "goose", "stone"]


def test_a_query_is_not_taken_for_a_document(tmp_path: Path) -> None:
    cached = CachedEmbeddings(Counting(tmp_path / "log"), tmp_path / "vectors")
    document, query = cached.embed_documents(["goose"])[0], cached.embed_query("goose")
    assert query == pytest.approx([2 * value for value in document])
    assert cached.embed_query("goose") == query


def test_questions_can_be_embedded_anew_each_time(tmp_path: Path) -> None:
    counting = Counting(tmp_path / "log")
    cached = CachedEmbeddings(counting, tmp_path / "vectors", queries=False)
    assert cached.embed_query("goose") == cached.embed_query("goose")
    assert counting.asked() == ["goose", "goose"]


def test_other_weights_have_vectors_of_their_own(tmp_path: Path) -> None:
    one, two = (CachedEmbeddings(HashEmbeddings(name=n), tmp_path) for n in ("one", "other"))
    assert one.file != two.file and two.model_hash == "other"


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(3 * BATCH)]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_embed, args=(tmp_path, texts)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sorted(Counting(tmp_path / "log").asked()) == sorted(texts)


def _embed(folder: Path, texts: list[str]) -> None:
    CachedEmbeddings(Counting(folder / "log"), folder / "vectors").embed_documents(texts)


def test_a_damaged_file_and_a_file_for_a_folder_are_one_clear_line(tmp_path: Path) -> None:
    cached = CachedEmbeddings(HashEmbeddings(), tmp_path)
    cached.file.write_bytes(b"no database at all, but long enough to be read as one" * 9)
    with pytest.raises(UserError, match=r"delete that file, or give another folder with --cache"):
        cached.embed_query("goose")
    with pytest.raises(UserError, match="give another folder with --cache"):
        CachedEmbeddings(HashEmbeddings(), cached.file).embed_query("goose")
