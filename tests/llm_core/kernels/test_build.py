"""Compiling the kernel: once, privately, and with a reason where it cannot be."""

import ctypes
import os
import platform
import subprocess
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from llm_core.kernels.build import (
    FLAGS,
    MACHINES,
    SOURCES,
    KernelUnavailableError,
    build_library,
    find_compiler,
    private_folder,
)
from llm_core.settings import child_environment

SOURCE = 'extern "C" __attribute__((visibility("default"))) int answer() { return %d; }\n'


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "answer.cpp").write_text(SOURCE % 42)
    return folder


def build(sources: Path, cache: Path, lines: list[str], **extra: str) -> Path:
    return build_library(cache, child_environment(**extra), lines.append, sources)


def answer(path: Path) -> int:
    return int(ctypes.CDLL(str(path)).answer())


def test_a_library_is_compiled_once_and_again_when_its_source_changes(
    sources: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    first = build(sources, tmp_path / "cache", lines)
    assert build(sources, tmp_path / "cache", lines) == first
    assert len(lines) == 1 and "compiling" in lines[0]
    (sources / "answer.cpp").write_text(SOURCE % 43)
    second = build(sources, tmp_path / "cache", lines)
    assert second != first and len(lines) == 2
    assert (answer(first), answer(second)) == (42, 43)


def test_the_folder_and_its_files_are_the_owners_alone(sources: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True, mode=0o777)
    folder.chmod(0o777)
    path = build(sources, tmp_path / "cache", [])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(left.suffix for left in folder.iterdir() if left.name != ".lock") == [
        ".sha256",
        path.suffix,
    ]


@pytest.mark.parametrize("harm", ["changed", "cut short", "writable by others", "unsealed"])
def test_a_library_that_is_not_as_compiled_is_compiled_again(
    sources: Path, tmp_path: Path, harm: str
) -> None:
    lines: list[str] = []
    path = build(sources, tmp_path / "cache", lines)
    whole = path.read_bytes()
    if harm == "changed":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif harm == "cut short":
        path.write_bytes(whole[: len(whole) // 2])
    elif harm == "writable by others":
        path.chmod(0o666)
    else:
        path.with_suffix(".sha256").unlink()
    assert build(sources, tmp_path / "cache", lines) == path
    assert len(lines) == 2 and path.read_bytes() == whole
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "kernels").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KernelUnavailableError, match="no code is loaded"):
        private_folder(tmp_path / "kernels")


def test_a_folder_that_anybody_can_replace_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(KernelUnavailableError, match="DEERSTALKER_CACHE_DIR"):
        private_folder(shared / "kernels")
    shared.chmod(0o1777)  # sticky, as /tmp is
    assert private_folder(shared / "kernels").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(KernelUnavailableError, match="no code is loaded"):
        private_folder(folder)


def test_without_a_compiler_the_reason_names_the_mend(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(KernelUnavailableError, match=r"no C\+\+ compiler runs here.*CXX"):
        build(sources, tmp_path, [], PATH=str(tmp_path / "empty"), CXX="")
    with pytest.raises(KernelUnavailableError, match="tried /nowhere/g"):
        build(sources, tmp_path, [], CXX="/nowhere/g++ -m64")


def test_cxx_chooses_the_compiler_and_its_arguments(sources: Path, tmp_path: Path) -> None:
    (sources / "answer.cpp").write_text(SOURCE.replace("%d", "VALUE"))
    path = build(sources, tmp_path, [], CXX="c++ -DVALUE=7")
    assert answer(path) == 7


def test_sources_that_do_not_compile_give_the_compilers_line(sources: Path, tmp_path: Path) -> None:
    (sources / "broken.cpp").write_text("int main( {")
    with pytest.raises(KernelUnavailableError, match=r"broken\.cpp:1.*error"):
        build(sources, tmp_path, [])
    assert [left.name for left in (tmp_path / "kernels").iterdir()] == [".lock"]


def test_files_of_other_machines_are_left_out(sources: Path, tmp_path: Path) -> None:
    (sources / "target_avx2.cpp").write_text(
        "#if !defined(__AVX2__)\n#error not for this machine\n#endif\n"
    )
    (sources / "target_neon.cpp").write_text(
        "#if !defined(__ARM_NEON)\n#error not for this machine\n#endif\n"
    )
    assert answer(build(sources, tmp_path, [])) == 42


@pytest.mark.parametrize("name", sorted(MACHINES[platform.machine().lower()]))
def test_a_target_shares_no_function_with_files_that_run_everywhere(
    name: str, tmp_path: Path
) -> None:
    """An inline function compiled with wide instructions could else be chosen for all files."""
    compiler = find_compiler(child_environment())
    flags = MACHINES[platform.machine().lower()][name]
    made = tmp_path / "target.o"
    # Without optimisation nothing is inlined, so every function that could be shared shows up.
    command = [*compiler.command, *FLAGS, *flags, "-O0", "-c", "-o", str(made)]
    subprocess.run([*command, str(SOURCES / f"target_{name}.cpp")], check=True)
    listed = subprocess.run(["nm", "-C", str(made)], capture_output=True, text=True, check=True)
    defined = [line.split(maxsplit=2)[1:] for line in listed.stdout.splitlines() if line[0] != " "]
    shared = [symbol for kind, symbol in defined if kind in "TWVuBDRGS"]
    assert shared == [f"lm::target_{name}()"]


def test_a_second_process_waits_and_finds_the_library(sources: Path, tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "kernels")
    lock, lines = FileLock(folder / ".lock"), list[str]()
    lock.acquire()
    waiting = threading.Thread(target=build, args=(sources, tmp_path, lines))
    waiting.start()
    while not lines and waiting.is_alive():
        time.sleep(0.01)
    assert len(lines) == 1 and "waiting for another process" in lines[0]
    lock.release()
    waiting.join(timeout=60)
    assert len(lines) == 2 and "compiling" in lines[1]


def test_libraries_of_older_sources_are_swept(sources: Path, tmp_path: Path) -> None:
    for value in range(6):
        (sources / "answer.cpp").write_text(SOURCE % value)
        path = build(sources, tmp_path, [])
    assert answer(path) == 5
    assert len(list((tmp_path / "kernels").glob("*.sha256"))) == 3
