"""Reading in worker processes: the same as without, in order, within limits of time and memory."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retrievers.reading import Job, outcome_from_json, outcome_to_json, read_job
from retrievers.workers import WorkerPool, read_jobs, worker_count
from tests.retrievers.pdf_files import make_pdf, make_placed_pdf

ENDLESS = [(50.0, 700.0, b"word " * 100_000)] * 6  # a page that takes seconds


def job(file: Path) -> Job:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return Job(sha256, file.name, file, file.parent)


def write(folder: Path, name: str, data: bytes) -> Job:
    (folder / name).write_bytes(data)
    return job(folder / name)


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    return [
        write(tmp_path, "a.pdf", make_pdf([[b"1 Food", b"The deer eats grass."], [b"And moss."]])),
        write(tmp_path, "b.html", "<h1>กวาง</h1><p>กวางกินหญ้า</p>".encode()),
        write(tmp_path, "c.docx", b"no office file"),
        write(tmp_path, "d.txt", b"A plain text of deer."),
        write(tmp_path, "e.eml", b"Subject: \xff deer\n\nThey \xff run."),
    ]


def test_workers_read_what_this_process_would_read(jobs: list[Job]) -> None:
    found = list(read_jobs(jobs))
    assert [done for done, _ in found] == jobs
    assert [outcome for _, outcome in found] == [read_job(one) for one in jobs]
    reasons = [outcome.document.row.reason for _, outcome in found if outcome.document]
    assert reasons == [None, None, "broken .docx: it cannot be opened; save it again", None, None]


def test_an_outcome_survives_its_way_between_processes(jobs: list[Job]) -> None:
    for outcome in map(read_job, jobs):
        assert outcome_from_json(outcome_to_json(outcome)) == outcome


def test_a_file_with_another_hash_has_changed(jobs: list[Job]) -> None:
    jobs[0].file.write_bytes(make_pdf([[b"Other words."]]))
    (_, changed), *_ = read_jobs(jobs)
    assert changed.document is None


def test_many_files_come_in_order_and_few_wait(tmp_path: Path) -> None:
    many = [write(tmp_path, f"{n:02}.pdf", make_pdf([[b"Deer %d" % n]])) for n in range(30)]
    with WorkerPool(2) as pool:
        found = pool.read(many)
        assert next(found)[0] == many[0]
        assert [done for done, _ in found] == many[1:]


def test_a_page_that_takes_too_long_is_left_out(tmp_path: Path) -> None:
    pages = [[(50.0, 700.0, b"Before.")], ENDLESS, [(50.0, 700.0, b"After it.")]]
    slow = write(tmp_path, "slow.pdf", make_placed_pdf(pages))
    with WorkerPool(1, page_seconds=0.5) as pool:
        ((_, outcome),) = pool.read([slow])
    assert outcome.notes == ["slow.pdf: page 2 was left out: too slow: over 0.5 s for page 2"]
    assert outcome.document is not None and outcome.document.row.reason is None
    texts = [passage.document.page_content for passage in outcome.document.passages]
    assert texts == ["Before.", "After it."]


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read(tmp_path: Path) -> None:
    slow = write(tmp_path, "slow.html", b"<table>" * 400_000 + b"deer")
    good = write(tmp_path, "good.html", b"<p>The deer runs.")
    with WorkerPool(1, file_seconds=3) as pool:
        (_, given_up), (_, read) = pool.read([slow, good])
    assert given_up.document is not None and given_up.document.row.reason is not None
    assert read.document is not None and len(read.document.passages) == 1


def test_a_file_that_takes_too_much_memory_is_named(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):  # elsewhere the limit has no effect
        return
    rows = b"<row><c t='inlineStr'><is><t>%s</t></is></c></row>" % (b"deer " * 200)
    body = b"<worksheet><sheetData>" + rows * 40_000 + b"</sheetData></worksheet>"
    huge = tmp_path / "huge.docx"
    with zipfile.ZipFile(huge, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", b"<Types/>")
        archive.writestr("_rels/.rels", b"<Relationships/>")
        archive.writestr("word/document.xml", body)
    small = write(tmp_path, "small.html", b"<p>The deer runs.")
    with WorkerPool(1, memory=300 * 2**20) as pool:
        (_, given_up), (_, read) = pool.read([job(huge), small])
    assert given_up.document is not None and given_up.document.row.reason is not None
    assert read.document is not None and len(read.document.passages) == 1


def test_a_worker_that_dies_costs_one_page(tmp_path: Path) -> None:
    slow = write(tmp_path, "slow.pdf", make_placed_pdf([ENDLESS, [(50.0, 700.0, b"After it.")]]))
    good = write(tmp_path, "good.pdf", make_pdf([[b"The deer runs."]]))
    with WorkerPool(1, page_seconds=10_000) as pool, ThreadPoolExecutor(1) as other:
        found = other.submit(lambda: list(pool.read([slow, good])))
        (worker,) = pool._workers
        while worker._process is None or not 9_000 < worker._deadline - time.monotonic() < 10**6:
            time.sleep(0.01)  # until it has begun the page
        os.kill(worker._process.pid, signal.SIGKILL)
        (_, first), (_, second) = found.result()
    assert first.notes == [
        "slow.pdf: page 1 was left out: broken: reading it ended the process that read it"
    ]
    for outcome, words in ((first, "After it."), (second, "The deer runs.")):
        assert outcome.document is not None
        assert [p.document.page_content for p in outcome.document.passages] == [words]


def test_no_worker_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    write(tmp_path, "slow.pdf", make_placed_pdf([ENDLESS]))
    code = (
        "from pathlib import Path; from retrievers.workers import *; from retrievers.reading import"
        f" Job; f = Path({str(tmp_path / 'slow.pdf')!r}); pool = WorkerPool(1).__enter__();"
        " pool._workers[0]._start(9); print(pool._workers[0]._process.pid, flush=True);"
        " list(pool.read([Job('', 'slow.pdf', f, f.parent)]))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    for _ in range(300):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the worker still runs")


def test_there_is_a_worker_for_each_core() -> None:
    assert 1 <= worker_count() <= 8
