"""A store in a folder outlives kills, two writers, damage, a full disk; what is deleted is gone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from retrievers.artefact import ArtefactError
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.faiss_store import FaissStore
from tests.fakes import HashEmbeddings

ROOT = Path(__file__).resolve().parents[2]
# For each number on stdin a child makes changes from that one on, each said before and after, until
# it is killed; forking spares it the imports.
CHANGES = """
import os, sys
from pathlib import Path
import retrievers.dense
from retrievers.faiss_store import FaissStore
from tests.fakes import HashEmbeddings
from tests.retrievers.test_store_survival import change
retrievers.dense._FEW = 6  # gaps are closed every few changes
for line in sys.stdin:
    child = os.fork()
    if not child:
        store, step = FaissStore.open(Path(sys.argv[1]), HashEmbeddings()), int(line)
        print("child", os.getpid(), flush=True)
        while True:
            texts, gone = change(step)
            print("doing", step, flush=True)
            store.add_texts(list(texts.values()), ids=list(texts)) if texts else store.delete(gone)
            print("done", step, flush=True)
            step += 1
    os.waitpid(child, 0)
    print("killed", child, flush=True)
"""
FILL = """
import resource, sys
from pathlib import Path
from retrievers.errors import RetrievalError
from retrievers.faiss_store import FaissStore
from tests.fakes import HashEmbeddings
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
store = FaissStore.open(Path(sys.argv[1]), HashEmbeddings())
try:
    for at in range(10_000):
        store.add_texts([f"a longer text about number {at} " * 20], ids=[str(at)])
        print(at, flush=True)
except RetrievalError as err:
    sys.exit(f"error: {err}")
"""


def change(step: int) -> tuple[dict[str, str], list[str]]:
    """Change number `step`: texts to store by id, or ids to delete."""
    rng = random.Random(step)
    ids = [str(rng.randrange(30)) for _ in range(rng.randint(1, 8))]
    if rng.random() < 0.6:
        return {id_: f"text {id_} of step {step}" for id_ in ids}, []
    return {}, ids


def state(steps: int) -> dict[str, str]:
    """What a store holds after the first `steps` changes."""
    held: dict[str, str] = {}
    for step in range(steps):
        texts, gone = change(step)
        held |= texts
        for id_ in gone:
            held.pop(id_, None)
    return held


def held_by(store: FaissStore) -> dict[str, str]:
    """Every text by id; each vector must be that of its text."""
    found: dict[str, str] = {}
    model = HashEmbeddings()
    for documents, vectors in store.batches():
        for document, vector in zip(documents, vectors, strict=True):
            assert vector.tolist() == pytest.approx(
                model.embed_query(document.page_content), abs=1e-6
            )
            found[document.id or ""] = document.page_content
    return found


def kill_child(process: subprocess.Popen[str], start: int, after: int, seconds: float) -> int:
    """Let a child make changes from `start` on, SIGKILL it; how many changes it answered in all."""
    assert process.stdin is not None and process.stdout is not None
    print(start, file=process.stdin, flush=True)
    child, done = 0, start
    for line in process.stdout:
        word, number = line.split()
        if word == "child":
            child = int(number)
        elif word == "killed":
            break
        elif word == "done":
            done = int(number) + 1
        elif int(number) == start + after:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
    return done


def test_killed_at_any_moment_it_holds_every_change_that_was_answered(tmp_path: Path) -> None:
    moments, done = random.Random(11), 0
    with subprocess.Popen(
        [sys.executable, "-c", CHANGES, str(tmp_path / "store")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for _ in range(25):
            done = kill_child(process, done, moments.randrange(5), moments.uniform(0, 0.02))
            store = FaissStore.open(tmp_path / "store", HashEmbeddings())
            found = held_by(store)
            store.close()
            assert found in (state(done), state(done + 1)), f"after {done} changes"
            if found != state(done):  # the last one took effect and could not be answered
                done += 1
    assert done > 25


def test_two_processes_that_write_at_once_both_get_it_done(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from retrievers.faiss_store import FaissStore;"
        "from tests.fakes import HashEmbeddings;"
        "store = FaissStore.open(Path(sys.argv[1]), HashEmbeddings());"
        "[store.add_texts([f'{sys.argv[2]} {n}'], ids=[f'{sys.argv[2]}-{n}']) for n in range(15)]"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "store"), name], cwd=ROOT)
        for name in ("one", "two")
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    found = held_by(FaissStore.open(tmp_path / "store", HashEmbeddings()))
    assert found == {f"{w}-{n}": f"{w} {n}" for w in ("one", "two") for n in range(15)}


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = FaissStore.open(folder, HashEmbeddings())
    store.add_texts(["a goose"], ids=["g"])
    (folder / "vectors-9.f32").write_bytes(b"x")
    (folder / ".approximate-0.abc.new").mkdir()
    with (folder / "vectors-0.f32").open("ab") as file:
        file.write(b"half a vector")
    store = FaissStore.open(folder, HashEmbeddings())
    store.add_texts(["a duck"], ids=["d"])
    assert held_by(store) == {"g": "a goose", "d": "a duck"}
    assert not list(folder.glob("*9*")) and not list(folder.glob(".appr*"))


def filled(folder: Path, count: int = 3000) -> FaissStore:
    store = FaissStore.open(folder, HashEmbeddings())
    ids = [str(n) for n in range(count)]
    store.add_texts([f"text number {n}" for n in ids], [{"n": n} for n in ids], ids=ids)
    return store


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_damaged_vectors_are_made_again_from_their_texts(tmp_path: Path, damage: str) -> None:
    filled(tmp_path / "store").close()
    file = tmp_path / "store" / "vectors-0.f32"
    size = file.stat().st_size
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        os.truncate(file, size // 2)
    else:
        with file.open("r+b") as stream:
            stream.seek(size // 2)
            stream.write(b"\0\0\1\1")
    with pytest.raises(ArtefactError, match=r"vectors-0.f32 are damaged: FaissStore.repair"):
        FaissStore.open(tmp_path / "store", HashEmbeddings())
    model = HashEmbeddings()
    made, lost = FaissStore.repair(tmp_path / "store", model)
    assert lost == [] and made == len(model.embedded)
    assert made == {"changed": 1024, "cut": 1976, "gone": 3000}[damage]
    store = FaissStore.open(tmp_path / "store", HashEmbeddings())
    assert held_by(store) == {str(n): f"text number {n}" for n in range(3000)}
    assert FaissStore.repair(tmp_path / "store", model) == (0, [])


def test_a_damaged_text_is_named_and_taken_out(tmp_path: Path) -> None:
    filled(tmp_path / "store", 50).close()
    file = tmp_path / "store" / "store.sqlite"
    raw = file.read_bytes()
    assert raw.count(b"text number 17{") == 1
    file.write_bytes(raw.replace(b"text number 17{", b"text numbed 17{"))
    store = FaissStore.open(tmp_path / "store", HashEmbeddings())
    with pytest.raises(ArtefactError, match=r"'17' in .*store.sqlite is damaged"):
        store.similarity_search("text number 17", k=1)
    assert store.get_by_ids(["18"])[0].page_content == "text number 18"
    store.close()
    assert FaissStore.repair(tmp_path / "store", HashEmbeddings()) == (0, ["17"])
    store = FaissStore.open(tmp_path / "store", HashEmbeddings())
    assert len(store) == 49 and store.similarity_search("text number 17", k=1)[0].id != "17"


@pytest.mark.parametrize("damage", ["text", "middle", "gone"])
def test_a_damaged_file_of_documents_is_told(tmp_path: Path, damage: str) -> None:
    filled(tmp_path / "store").close()
    file = tmp_path / "store" / "store.sqlite"
    if damage == "gone":
        file.unlink()
    elif damage == "text":
        file.write_text("this was a database once", encoding="utf-8")
    else:
        with file.open("r+b") as stream:
            stream.seek(8192)
            stream.write(random.Random(1).randbytes(100_000))
    with pytest.raises(RetrievalError, match=r"store.* (damaged|gone)"):
        FaissStore.open(tmp_path / "store", HashEmbeddings())


def test_a_full_disk_is_told_and_what_was_stored_is_kept(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path / "store"), "120000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1 and process.stderr.startswith("error: ")
    assert "make room" in process.stderr and process.stderr.count("\n") == 1
    stored = int(process.stdout.split()[-1]) + 1
    store = FaissStore.open(tmp_path / "store", HashEmbeddings())
    assert len(held_by(store)) == len(store) == stored > 5
    store.add_texts(["there is room now"])
    assert len(store) == stored + 1


def test_a_store_that_cannot_be_written_is_told_and_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(IndexStoreError, match="not a folder"):
        FaissStore.open(tmp_path / "file", HashEmbeddings()).add_texts(["a goose"])


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes()


@pytest.mark.parametrize("how", ["deleted", "changed", "all"])
def test_nothing_is_left_on_the_disk_of_a_text_that_is_deleted(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "store"
    store = FaissStore.open(folder, HashEmbeddings())
    secret = {"note": "whispered-in-the-metadata"}
    long = "the-secret-recipe " + "and more of the-secret-recipe " * 500  # beyond one page
    store.add_texts(
        ["a goose", long, "the-secret-recipe"], [{}, secret, secret], ids=["g", "s", "t"]
    )
    assert any(b"the-secret-recipe" in raw for _, raw in files_of(folder))
    if how == "all":
        store.delete()
    elif how == "changed":
        store.add_texts(["harmless", "harmless"], ids=["s", "t"])
    else:
        store.delete(["s", "t"])
    for name, raw in files_of(folder):
        assert b"secret-recipe" not in raw and b"whispered" not in raw, name


def test_search_results_are_json_like_what_was_stored(tmp_path: Path) -> None:
    metadata: dict[str, Any] = {"a": [1, 2], "b": {"c": None}, "d": "ไทย"}
    store = FaissStore.open(tmp_path / "store", HashEmbeddings())
    store.add_documents([Document(id="x", page_content="text", metadata=metadata)])
    assert json.loads(json.dumps(store.get_by_ids(["x"])[0].metadata)) == metadata
