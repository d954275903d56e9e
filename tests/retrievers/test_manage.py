"""Indexes are found and deleted; what is no index is left alone."""

from pathlib import Path

import pytest

from retrievers import manage
from retrievers.corpus import Corpus
from retrievers.errors import IndexStoreError
from retrievers.indexing import update_index
from retrievers.manage import delete_documents, delete_index, find_indexes, list_documents
from tests.fakes import HashEmbeddings
from tests.retrievers.index_helpers import write_stories


@pytest.fixture
def index(tmp_path: Path) -> Path:
    corpus = Corpus(tmp_path / "index")
    update_index(corpus, [write_stories(tmp_path / "docs")], HashEmbeddings())
    corpus.close()
    return tmp_path / "index"


def test_a_deletion_that_was_killed_is_ended_by_the_same_call(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(manage, "build_generation", killed)
        with pytest.raises(KeyboardInterrupt):
            delete_documents(index, ["goose.txt"])
    assert b"carbuncle" in (index / "corpus.sqlite").read_bytes()
    delete_documents(index, ["goose.txt"])
    assert [held.source for held in list_documents(index)] == ["league.txt", "letters/scandal.txt"]
    for file in index.rglob("*"):
        assert not file.is_file() or b"carbuncle" not in file.read_bytes(), file


def test_a_folder_of_a_person_is_no_index_for_its_name(tmp_path: Path, index: Path) -> None:
    mine = tmp_path / "project" / "generations" / "first" / "family.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("kept", encoding="utf-8")
    with pytest.raises(IndexStoreError, match="there is no index"):
        delete_index(tmp_path / "project")
    assert mine.read_text(encoding="utf-8") == "kept" and find_indexes(tmp_path) == [index]
    (index / "corpus.sqlite").unlink()  # what is left of an index is still one
    assert find_indexes(tmp_path) == [index]
    delete_index(index)
    assert not index.exists()
