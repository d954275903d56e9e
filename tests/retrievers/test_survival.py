"""An index outlives what happens to it: kills, two writers, damage, no rights, a full disk."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrievers.corpus import Corpus
from retrievers.errors import IndexStoreError
from retrievers.indexing import BATCH, IndexReport, stored_index, update_index
from retrievers.pipeline import HybridRetriever, open_library
from tests.fakes import HashEmbeddings
from tests.retrievers.index_helpers import content, no_rights, write_stories

ROOT = Path(__file__).resolve().parents[2]
COPIES = 80
TEXTS = 3 * COPIES
BUILD = """
import os, resource, signal, sys
from pathlib import Path
from retrievers.corpus import Corpus
from retrievers.errors import RetrievalError
from retrievers.indexing import update_index
from tests.fakes import HashEmbeddings
index, docs, largest_file, last_step = sys.argv[1:]
def say(*step):
    print(*step, flush=True)
    if " ".join(map(str, step)) == last_step:
        os.kill(os.getpid(), signal.SIGKILL)
if int(largest_file):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file),) * 2)
try:
    update_index(Corpus(Path(index)), [Path(docs)], HashEmbeddings(delay=0.02), say)
except RetrievalError as err:
    sys.exit(f"error: {err}")
"""


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stories(tmp_path_factory.mktemp("docs"), COPIES)


@pytest.fixture(scope="module")
def built(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index that was built without a disturbance."""
    folder = tmp_path_factory.mktemp("built") / "index"
    assert update_index(Corpus(folder), [docs], HashEmbeddings()).indexed == TEXTS
    return folder


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "index")


def start_build(
    index: Path, docs: Path, largest_file: int = 0, last_step: str = ""
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(index), str(docs), str(largest_file), last_step],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_at(process: subprocess.Popen[str], step: str, seconds: float) -> None:
    """SIGKILL `seconds` after the process says `step`."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == step:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL, f"it ended before {step!r}"


def finish(index: Path, docs: Path) -> tuple[IndexReport, HashEmbeddings]:
    model = HashEmbeddings()
    return update_index(Corpus(index), [docs], model), model


def found_in(index: Path) -> list[str]:
    """What a search finds in the index as it was last published, without a look at the files."""
    corpus = Corpus(index)
    lexical, vectors = stored_index(corpus)
    model = HashEmbeddings()
    retriever = HybridRetriever(
        lexical=lexical, vectors=vectors, fetch=corpus.get, embeddings=model, k=300
    )
    found = retriever.search_many(["blue carbuncle goose duck", "photograph", "red headed league"])
    corpus.close()
    return [document.page_content for document in found]


@pytest.mark.parametrize(
    ("step", "stored"),
    [
        ("checking 0 240", 0),
        ("reading 1 240", 0),
        ("reading 170 240", 0),
        ("embedding 0 240", 0),
        ("embedding 128 240", 128),
        ("embedding 192 240", 192),
        ("writing 0 1", 240),
    ],
)
def test_killed_while_building_it_is_finished_as_if_built_in_peace(
    tmp_path: Path, docs: Path, built: Path, step: str, stored: int
) -> None:
    process = start_build(tmp_path / "index", docs)
    kill_at(process, step, random.Random(step).uniform(0, 0.015))
    _, model = finish(tmp_path / "index", docs)
    assert TEXTS - stored - BATCH <= len(model.embedded) <= TEXTS - stored
    assert content(tmp_path / "index") == content(built)


def test_killed_again_and_again_it_still_gets_done(tmp_path: Path, docs: Path, built: Path) -> None:
    index, moments = tmp_path / "index", random.Random(7)
    for kill in range(4):
        process = start_build(index, docs)
        line = process.stdout.readline() if process.stdout else ""
        assert line.startswith("checking 0")
        time.sleep(moments.uniform(0.02, 0.3 + 0.1 * kill))
        process.kill()
        process.communicate()
    finish(index, docs)
    assert content(index) == content(built)


def test_killed_while_following_changes_nothing_old_stays(
    tmp_path: Path, docs: Path, copied: Path
) -> None:
    changed = shutil.copytree(docs, tmp_path / "changed")
    for number in range(40):
        (changed / f"more{number + 1:03}" / "goose.txt").write_text(f"A duck, number {number}.")
    shutil.rmtree(changed / "more079")
    kill_at(start_build(copied, changed), "reading 20 40", 0.0)
    report, _ = finish(copied, changed)
    assert report.passages == TEXTS - 3
    update_index(Corpus(tmp_path / "fresh"), [changed], HashEmbeddings())
    assert content(copied) == content(tmp_path / "fresh")


@pytest.mark.parametrize("step", ["reading 20 40", "embedding 0 40", "writing 0 1"])
def test_until_an_update_is_published_the_index_before_it_answers(
    tmp_path: Path, docs: Path, copied: Path, step: str
) -> None:
    before = found_in(copied)
    changed = shutil.copytree(docs, tmp_path / "changed")
    for number in range(40):
        (changed / f"more{number + 1:03}" / "goose.txt").write_text(f"A duck, number {number}.")
    shutil.rmtree(changed / "letters")
    process = start_build(copied, changed, last_step=step)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert found_in(copied) == before
    finish(copied, changed)
    assert found_in(copied) != before


def test_a_folder_without_an_index_is_told_and_left_without(tmp_path: Path) -> None:
    with pytest.raises(IndexStoreError, match="no finished index"):
        stored_index(Corpus(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_two_processes_at_once_build_one_index(tmp_path: Path, docs: Path, built: Path) -> None:
    processes = [start_build(tmp_path / "index", docs) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    stages = sorted({line.split()[0] for line in out.splitlines()} for out, _ in said)
    assert sum("embedding" in stage for stage in stages) == 1
    assert content(tmp_path / "index") == content(built)


def test_a_held_index_is_told_after_the_wait(docs: Path, copied: Path) -> None:
    said: list[str] = []
    with (
        Corpus(copied).writing(0),
        pytest.raises(IndexStoreError, match=r"another process.*--index"),
    ):
        update_index(
            Corpus(copied), [docs], HashEmbeddings(), lambda *s: said.append(s[0]), wait=0.2
        )
    assert said == ["waiting"]
    assert finish(copied, docs)[0].unchanged == TEXTS


def test_an_open_library_answers_while_another_process_updates(
    tmp_path: Path, docs: Path, copied: Path
) -> None:
    library = open_library(copied, [docs], HashEmbeddings())
    before = library.manifest()
    found = library.search(["blue carbuncle"], k=4)
    changed = shutil.copytree(docs, tmp_path / "changed")
    shutil.rmtree(changed / "more001")
    update_index(Corpus(copied), [changed], HashEmbeddings())
    after = library.search(["blue carbuncle"], k=4)
    gone = {d.id for d in found} - {d.id for d in after}
    assert all("Edition 1." in d.page_content for d in found if d.id in gone) and after
    assert library.manifest() == before


def overwrite(file: Path, start: float, end: float) -> None:
    """Put random bytes over a share of a file."""
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(int(size * start))
        stream.write(random.Random(1).randbytes(int(size * (end - start))))


@pytest.mark.parametrize("damage", ["header", "middle", "half", "text", "version"])
def test_a_damaged_store_is_rebuilt_from_the_files(
    docs: Path, built: Path, copied: Path, damage: str
) -> None:
    file = copied / "corpus.sqlite"
    if damage == "header":
        overwrite(file, 0, 0.01)
    elif damage == "middle":
        overwrite(file, 0.3, 0.7)
    elif damage == "half":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "text":
        file.write_text("this was a database once", encoding="utf-8")
    else:
        raw = bytearray(file.read_bytes())
        raw[60:64] = (77).to_bytes(4, "big")  # where SQLite keeps user_version
        file.write_bytes(raw)
    report, model = finish(copied, docs)
    assert len(report.notices) == 1 and "rebuilt from the files" in report.notices[0]
    assert "\n" not in report.notices[0] and len(model.embedded) == TEXTS
    assert content(copied) == content(built)


def test_an_emptied_store_is_filled_again(docs: Path, built: Path, copied: Path) -> None:
    (copied / "corpus.sqlite").write_bytes(b"")
    assert finish(copied, docs)[0].indexed == TEXTS
    assert content(copied) == content(built)


def test_damage_met_in_a_search_is_told_and_mended_by_the_next_update(
    docs: Path, built: Path, copied: Path
) -> None:
    library = open_library(copied, [docs], HashEmbeddings())
    library.close()
    (copied / "corpus.sqlite").write_text("this was a database once", encoding="utf-8")
    with pytest.raises(IndexStoreError, match="damaged: run again"):
        library.search(["blue carbuncle"])
    assert "rebuilt" in finish(copied, docs)[0].notices[0]
    assert content(copied) == content(built)


@pytest.mark.parametrize("part", ["lexical", "dense"])
@pytest.mark.parametrize("damage", ["overwritten", "cut", "gone", "all gone"])
def test_damaged_search_structures_are_rebuilt_from_the_store(
    docs: Path, built: Path, copied: Path, part: str, damage: str
) -> None:
    (folder,) = (copied / "generations").glob(f"*/{part}")
    largest = max(folder.iterdir(), key=lambda file: file.stat().st_size)
    if damage == "overwritten":
        overwrite(largest, 0.5, 0.6)
    elif damage == "cut":
        os.truncate(largest, 100)
    elif damage == "gone":
        largest.unlink()
    else:
        shutil.rmtree(folder)
    report, model = finish(copied, docs)
    assert "rebuilt from the stored passages" in report.notices[0] and model.embedded == []
    assert content(copied) == content(built)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_read_only_index_is_told_and_left_whole(open_folder: Path) -> None:
    docs = write_stories(open_folder / "docs")
    update_index(Corpus(open_folder / "index"), [docs], HashEmbeddings())
    before = content(open_folder / "index")
    (docs / "new.txt").write_text("The speckled band.", encoding="utf-8")
    with (
        no_rights(open_folder / "index"),
        pytest.raises(IndexStoreError, match=r"cannot be written.*--index"),
    ):
        update_index(Corpus(open_folder / "index"), [docs], HashEmbeddings())
    assert content(open_folder / "index") == before
    assert finish(open_folder / "index", docs)[0].indexed == 1


def test_a_read_only_index_that_is_up_to_date_answers(open_folder: Path) -> None:
    docs, index = write_stories(open_folder / "docs"), open_folder / "index"
    update_index(Corpus(index), [docs], HashEmbeddings())
    open_library(index, [docs], HashEmbeddings())  # imports what another user cannot
    time.sleep(3.1)  # now the stamps of the files would be stored
    with no_rights(index):
        library = open_library(index, [docs], HashEmbeddings())
        assert len(library.search(["blue carbuncle"])) == 3
    assert library.report is not None and library.report.unchanged == 3
    assert library.report.notices == [f"{index} cannot be written; the index in it is up to date"]
    (docs / "goose.txt").unlink()
    for change in ("gone", "forgotten"):  # after the second only its document is left
        with no_rights(index), pytest.raises(IndexStoreError, match="cannot be written"):
            open_library(index, [docs], HashEmbeddings())
        if change == "gone":
            Corpus(index).forget_files(["goose.txt"])


def test_an_index_that_cannot_be_made_is_told(open_folder: Path) -> None:
    docs = write_stories(open_folder / "docs")
    (open_folder / "closed").mkdir()
    with (
        no_rights(open_folder / "closed"),
        pytest.raises(IndexStoreError, match="cannot be written"),
    ):
        update_index(Corpus(open_folder / "closed" / "index"), [docs], HashEmbeddings())
    with pytest.raises(IndexStoreError, match="not a folder"):
        update_index(Corpus(docs / "goose.txt"), [docs], HashEmbeddings())


@pytest.mark.parametrize("largest_file", [30_000, 150_000, 250_000])
def test_a_full_disk_is_told_and_the_work_is_kept(
    tmp_path: Path, docs: Path, built: Path, largest_file: int
) -> None:
    assert (built / "corpus.sqlite").stat().st_size > 250_000
    process = start_build(tmp_path / "index", docs, largest_file)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and err.startswith("error: ") and err.count("\n") == 1, err
    assert "make room" in err and str(tmp_path / "index") in err
    finish(tmp_path / "index", docs)
    assert content(tmp_path / "index") == content(built)


def test_a_full_disk_keeps_the_index_that_was_there(
    tmp_path: Path, docs: Path, copied: Path
) -> None:
    more = write_stories(shutil.copytree(docs, tmp_path / "more"), COPIES * 2)
    before = {
        d.id for d in open_library(copied, [docs], HashEmbeddings()).search(["blue carbuncle"])
    }
    size = (copied / "corpus.sqlite").stat().st_size
    process = start_build(copied, more, size + 20_000)
    assert "make room" in process.communicate(timeout=120)[1] and process.returncode == 1
    library = open_library(copied, [docs], HashEmbeddings())
    assert {d.id for d in library.search(["blue carbuncle"])} == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 300 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if done.returncode:
        pytest.skip(f"no right to mount a file system: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)  # connections may still be open


def test_a_file_system_that_fills_up_keeps_its_last_good_index(
    small_disk: Path, tmp_path: Path, docs: Path, built: Path
) -> None:
    index = small_disk / "index"
    update_index(Corpus(index), [write_stories(tmp_path / "few", 2)], HashEmbeddings())
    before = found_in(index)
    for _ in range(2):  # the second time there is no room from the start
        with pytest.raises(IndexStoreError, match="make room") as caught:
            update_index(Corpus(index), [docs], HashEmbeddings())
        assert str(index) in str(caught.value) and "\n" not in str(caught.value)
        assert len(before) == 6 and found_in(index) == before
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    finish(index, docs)
    assert content(index) == content(built)
