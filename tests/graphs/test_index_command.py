"""The index command: what it builds, lists, exports and deletes, and what it leaves on disk."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphs.index import main
from retrievers.chroma_store import open_chroma
from retrievers.corpus import Corpus
from retrievers.faiss_store import FaissStore
from retrievers.indexing import stored_index
from tests.fakes import HashEmbeddings
from tests.retrievers.index_helpers import write_stories

SECRET = "Moriarty hid the ledger beneath a waterfall near Meiringen"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process with a data folder of its own: (exit code, out, err)."""
    monkeypatch.setenv("DEERSTALKER_DATA_DIR", str(tmp_path / "data"))

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(argv, embeddings=HashEmbeddings)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = write_stories(tmp_path / "docs", 3)
    (folder / "reichenbach.txt").write_text(f"{SECRET}. The path is steep.", encoding="utf-8")
    return folder


@pytest.fixture
def built(run: Run, docs: Path, tmp_path: Path) -> Path:
    assert run("build", "--docs", str(docs), "--name", "stories", "-q")[0] == 0
    return tmp_path / "data" / "index" / "stories"


def answer(run: Run, *argv: str) -> Any:
    code, out, err = run(*argv, "--json")
    assert code == 0, err
    return json.loads(out)


def words_left(folder: Path, text: str = SECRET) -> list[str]:
    """Files of a folder in which a word of `text` can be read, in any of the ways we store it."""
    words = [word for word in text.split() if len(word) > 6]
    forms = {form for word in words for form in (word, word.lower(), word.lower()[:6])}
    return [
        f"{file.name}: {form}"
        for file in folder.rglob("*")
        if file.is_file()
        for form in sorted(forms)
        if form.encode() in file.read_bytes()
    ]


def test_an_index_is_built_listed_and_shown(run: Run, docs: Path, built: Path) -> None:
    (listed,) = answer(run, "list")
    assert listed["name"] == "stories" and listed["folder"] == str(built)
    assert listed["documents"] == listed["passages"] == 10 and listed["state"] == "ready"
    assert listed["paths"] == [str(docs)]
    assert listed["store_bytes"] > 4096 and listed["search_bytes"] > 1000
    shown = answer(run, "show", "sto", "--documents")
    assert [one["source"] for one in shown["files"]][:2] == ["goose.txt", "league.txt"]
    code, out, _ = run("show", str(built), "--documents")
    assert code == 0 and "10 documents, 10 passages" in out and "1 passages  goose.txt" in out


def test_the_command_runs_as_a_module(built: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "graphs.index", "list", str(tmp_path / "data" / "index")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.startswith("stories  10 documents"), done.stderr


def test_without_a_name_it_is_the_index_of_these_documents(
    run: Run, docs: Path, tmp_path: Path
) -> None:
    from graphs.settings import load_settings

    report = answer(run, "build", "--docs", str(docs), "-q")
    assert report["folder"] == str(load_settings().index_dir([docs]))
    assert report["indexed"] == 10 and report["skipped"] == []


def test_an_update_follows_the_files_of_every_index(run: Run, docs: Path, built: Path) -> None:
    (docs / "goose.txt").unlink()
    (docs / "new.txt").write_text("The speckled band.", encoding="utf-8")
    (report,) = answer(run, "update", "-q")
    assert (report["indexed"], report["unchanged"], report["removed"]) == (1, 9, 1)
    assert answer(run, "update", "stories", "-q")[0]["unchanged"] == 10


def test_an_exported_index_opens_as_a_store_with_the_same_vectors(
    run: Run, built: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    assert answer(run, "export", "stories", str(target))["passages"] == 10
    store = FaissStore.open(target, HashEmbeddings())
    corpus = Corpus(built)
    _, vectors = stored_index(corpus)
    assert len(store) == len(vectors) == 10
    (found,) = store.similarity_search("red headed league", k=1)
    assert found == corpus.get([found.id or ""])[0]
    corpus.close()
    pytest.importorskip("langchain_chroma", reason="the extra `chroma` is not installed")
    answer(run, "export", "stories", str(tmp_path / "chroma"), "--to", "chroma")
    copy = open_chroma(HashEmbeddings(), folder=tmp_path / "chroma")
    assert copy.similarity_search("red headed league", k=1)[0].id == found.id
    rows = tmp_path / "rows"
    answer(run, "export", "stories", str(rows), "--to", "jsonl")
    lines = (rows / "passages.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["id"] for line in lines} == set(vectors.ids)


def test_a_deleted_document_leaves_none_of_its_text_and_stays_out(
    run: Run, docs: Path, built: Path
) -> None:
    assert words_left(built), "the search for words has to find them before"
    code, out, _ = run("delete", "stories", "--document", "reichenbach.txt", "--yes")
    assert (code, out) == (0, "deleted reichenbach.txt\n")
    assert words_left(built) == [] and words_left(built, "reichenbach") == []
    assert answer(run, "show", "stories")["passages"] == 9
    report = answer(run, "update", "stories", "-q")[0]
    assert report["passages"] == 9 and report["notices"] == [
        "1 file stays out of the index, having been deleted from it"
    ]
    assert words_left(built) == []
    assert answer(run, "update", "stories", "--restore", "-q")[0]["passages"] == 10
    assert words_left(built)


def test_a_deleted_document_stays_out_of_an_index_that_is_rebuilt(
    run: Run, docs: Path, built: Path
) -> None:
    answer(run, "delete", "stories", "--document", "reichenbach.txt", "--yes")
    (built / "corpus.sqlite").write_text("this was a database once", encoding="utf-8")
    report = answer(run, "build", "--docs", str(docs), "--name", "stories", "-q")
    assert report["passages"] == 9 and words_left(built) == []


def test_a_removed_file_leaves_none_of_its_text_after_the_update(
    run: Run, docs: Path, built: Path
) -> None:
    (docs / "reichenbach.txt").unlink()
    answer(run, "update", "stories", "-q")
    assert words_left(built) == []


def test_the_copy_of_a_deleted_document_comes_back_under_its_own_name(
    run: Run, docs: Path, built: Path
) -> None:
    shutil.copy(docs / "reichenbach.txt", docs / "zurich.txt")
    answer(run, "update", "-q")
    said = answer(run, "delete", "stories", "--document", "reichenbach.txt", "--yes")
    assert said["notes"] == ["zurich.txt holds the same text; the next update takes it in again"]
    assert words_left(built) == [] and words_left(built, "reichenbach") == []
    assert answer(run, "update", "-q")[0]["passages"] == 10
    assert words_left(built) and words_left(built, "reichenbach") == []


def test_a_deleted_copy_leaves_the_text_under_the_name_of_the_first(
    run: Run, docs: Path, built: Path
) -> None:
    shutil.copy(docs / "reichenbach.txt", docs / "zurich.txt")
    answer(run, "update", "-q")
    said = answer(run, "delete", "stories", "--document", "zurich.txt", "--yes")
    assert said["notes"] == ["reichenbach.txt holds the same text"]
    assert answer(run, "show", "stories")["passages"] == 10
    assert words_left(built, "zurich.txt") == []


def test_a_deleted_index_leaves_nothing(run: Run, docs: Path, built: Path) -> None:
    assert run("delete", "stories", "--yes")[:2] == (0, f"deleted the index {built}\n")
    assert not built.exists() and answer(run, "list") == []
    assert (docs / "reichenbach.txt").exists()


def test_what_else_is_in_the_folder_of_an_index_stays(run: Run, built: Path) -> None:
    (built / "mine.txt").write_text("no part of the index", encoding="utf-8")
    run("delete", "stories", "--yes")
    assert [file.name for file in built.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["show", "nobody"], "there is no index nobody"),
        (["show", ""], "the path given to INDEX is empty"),
        (["list", "/nowhere"], "there is no folder /nowhere"),
        (["delete", "stories"], "give --yes"),
        (["delete", "stories", "--document", "x.txt", "--yes"], "x.txt is not in the index"),
        (["build", "--name", "../up"], "--name '../up' is not usable"),
        (["build", "--name", "a", "--index", "b"], "give one of them"),
        (["build", "--docs", "/nowhere"], "/nowhere"),
        (["build", "--workers", "2"], "give --ray too"),
        (["export", "stories", "DOCS"], "not an empty folder"),
        (["export", "stories", "OUT", "--to", "zip"], "--to zip is unknown"),
    ],
)
def test_what_a_person_can_mend_is_one_line(
    run: Run, docs: Path, built: Path, tmp_path: Path, argv: list[str], said: str
) -> None:
    places = {"DOCS": str(docs), "OUT": str(tmp_path / "out")}
    if argv[0] == "build" and "--docs" not in argv:
        argv = [*argv, "--docs", str(docs)]
    code, out, err = run(*(places.get(part, part) for part in argv))
    assert code == 2 and out == "" and err.startswith("error: ")
    assert said in err and err.count("\n") == 1


def test_a_damaged_index_is_shown_as_such_and_can_be_deleted(run: Run, built: Path) -> None:
    (built / "corpus.sqlite").write_text("this was a database once", encoding="utf-8")
    assert answer(run, "list")[0]["state"] == "damaged"
    assert run("delete", "stories", "--yes")[0] == 0 and not built.exists()
