"""Compile the kernel's C++ once a machine, into a cache folder that only its owner can write.

Every target (AVX-512, AVX2, NEON, plain) is compiled with its own explicit flags and chosen
when the library is loaded, so a cached file never holds code its machine cannot run. The
library has no torch ABI: one compiler call a source file, loaded with ctypes.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from llm_core.errors import ModelError

Report = Callable[[str], None]
SOURCES = Path(__file__).parent / "src"
COMPILERS = ("c++", "g++", "clang++")
# No fast-math and no contraction: an output must be the same sum in whatever loop it is made.
FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"),
    *("-fno-math-errno", "-pthread"),
)
Flags = Mapping[str, tuple[str, ...]]  # of each target
_AVX512 = (
    *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"),
    *("-mavx2", "-mfma", "-mf16c", "-mprefer-vector-width=512"),
)
X86_FLAGS: Flags = {
    "avx2": ("-mavx2", "-mfma", "-mf16c"),
    "avx512": _AVX512,
    "avx512bf16": (*_AVX512, "-mavx512bf16"),
}
ARM_FLAGS: Flags = {"neon": ("-march=armv8.2-a+dotprod",)}
MACHINES = {"x86_64": X86_FLAGS, "amd64": X86_FLAGS, "aarch64": ARM_FLAGS, "arm64": ARM_FLAGS}
_FEATURES = {
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16"),
    *("avx2", "fma", "f16c", "asimd", "asimddp", "i8mm", "bf16"),
}
TARGETS = {*X86_FLAGS, *ARM_FLAGS}  # files target_NAME.cpp that only their own machines compile
_BUILDING = ".build-"
_KEPT = 2  # libraries of other versions left in the folder


class KernelUnavailableError(ModelError):
    """The kernel cannot be used here; the message says why and what would help."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler and the line it calls itself by."""

    command: tuple[str, ...]
    version: str


def find_compiler(environment: Mapping[str, str]) -> Compiler:
    """Return the compiler named by CXX, else the first of c++, g++ and clang++ that runs.

    Raises KernelUnavailableError where none does.
    """
    named = environment.get("CXX", "").split()
    for command in [named] if named else [[name] for name in COMPILERS]:
        path = shutil.which(command[0], path=environment.get("PATH"))
        if path is None:
            continue
        try:
            asked = subprocess.run(
                [path, *command[1:], "--version"],
                capture_output=True,
                text=True,
                timeout=30,
                env=dict(environment),
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return Compiler((path, *command[1:]), asked.stdout.strip().split("\n", 1)[0])
    wanted = " ".join(named) if named else ", ".join(COMPILERS)
    raise KernelUnavailableError(
        f"no C++ compiler runs here (tried {wanted}); install g++ or clang++, or set CXX"
    )


def build_library(
    cache_dir: Path,
    environment: Mapping[str, str],
    report: Report | None = None,
    sources: Path = SOURCES,
) -> Path:
    """Return the compiled library in `cache_dir`/kernels, compiling it where it is not there.

    `report` gets one line before a compilation. Raises KernelUnavailableError without a
    compiler, where the sources do not compile, and where the folder is not private.
    """
    if os.name != "posix":
        raise KernelUnavailableError(f"the kernel is not built on {sys.platform}")
    flags = MACHINES.get(platform.machine().lower())
    if flags is None:
        raise KernelUnavailableError(f"the kernel has no sources for {platform.machine()!r}")
    compiler = find_compiler(environment)
    folder = private_folder(cache_dir / "kernels")
    path = folder / f"{sources.parent.name}-{_key(sources, compiler, flags)}{_suffix()}"
    if _is_whole(path):
        return path
    with _alone(folder, report):
        if not _is_whole(path):
            for left in folder.glob(_BUILDING + "*"):  # of a killed compilation
                shutil.rmtree(left, ignore_errors=True)
            if report is not None:
                report(f"compiling the decode kernel with {compiler.command[0]} (once) ...")
            jobs = _jobs(sources, compiler, flags)
            _compile(compiler, jobs, path, environment)
            _sweep(folder, path)
    return path


def private_folder(path: Path) -> Path:
    """Return `path` as a folder that only this user can read and write, made if missing.

    Raises KernelUnavailableError where it is a link, another's, in a folder where anybody can
    replace it, or cannot be made private.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status, parent = path.lstat(), path.parent.stat()
        open_parent = parent.st_mode & 0o002 and not parent.st_mode & stat.S_ISVTX
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not open_parent:
            if status.st_mode & 0o077:
                path.chmod(0o700)
            return path
    except OSError as err:
        raise KernelUnavailableError(
            f"cannot use {path} ({err.strerror}); set DEERSTALKER_CACHE_DIR to a writable folder"
        ) from err
    raise KernelUnavailableError(
        f"{path} is not a folder that only this user can replace, so no code is loaded from it; "
        "remove it or set DEERSTALKER_CACHE_DIR"
    )


def is_private_file(path: Path) -> bool:
    """Say whether `path` is a plain file that this user owns and alone can write."""
    status = path.lstat()
    mine = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return mine and not status.st_mode & 0o022


@contextlib.contextmanager
def _alone(folder: Path, report: Report | None) -> Iterator[None]:
    """Hold the folder's lock; `report` gets a line where another process has it."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if report is not None:
            report("waiting for another process that compiles for this machine ...")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _jobs(sources: Path, compiler: Compiler, flags: Flags) -> dict[str, list[str]]:
    """Return the compiler call of each object file this kind of machine needs."""
    jobs: dict[str, list[str]] = {}
    for path in sorted(sources.glob("*.cpp")):
        target = path.stem.removeprefix("target_")
        if target in flags or target not in TARGETS:
            extra = flags.get(target, ())
            jobs[f"{path.stem}.o"] = [*compiler.command, *FLAGS, *extra, "-c", str(path)]
    return jobs


def _key(sources: Path, compiler: Compiler, flags: Flags) -> str:
    """Hash all that decides the library's bytes: sources, flags, compiler, system, CPU."""
    digest = hashlib.sha256()
    for path in sorted(sources.iterdir()):
        if path.suffix in (".cpp", ".h"):
            digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    facts = (compiler, FLAGS, sorted(flags.items()), sys.platform, platform.machine())
    digest.update(repr((facts, sorted(cpu_features()))).encode())
    return digest.hexdigest()[:20]


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Return the instruction sets Linux lists that a target uses; empty on other systems."""
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            label, _, listed = line.partition(":")
            if label.strip() in ("flags", "Features"):
                return _FEATURES & set(listed.split())
    except OSError:
        pass
    return set()


def _suffix() -> str:
    return ".dylib" if sys.platform == "darwin" else ".so"


def _seal(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_whole(path: Path) -> bool:
    """Say whether the library is there, private and as it was compiled."""
    try:
        if not (is_private_file(path) and is_private_file(_seal(path))):
            return False
        expected = _seal(path).read_bytes()
        return hashlib.sha256(path.read_bytes()).hexdigest().encode() == expected
    except OSError:
        return False


def _compile(
    compiler: Compiler, jobs: dict[str, list[str]], path: Path, environment: Mapping[str, str]
) -> None:
    """Run the jobs, link, and move the library and its seal into place."""
    with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=path.parent) as name:
        work = Path(name)
        calls = [[*job, "-o", str(work / target)] for target, job in jobs.items()]
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            list(pool.map(lambda call: _run(call, environment), calls))
        objects = [str(work / target) for target in sorted(jobs)]
        library = work / "library"
        _run([*compiler.command, "-shared", "-pthread", *objects, "-o", str(library)], environment)
        library.chmod(0o600)
        seal = work / "seal"
        seal.write_text(hashlib.sha256(library.read_bytes()).hexdigest(), encoding="ascii")
        seal.chmod(0o600)
        seal.replace(_seal(path))  # first: a library without its seal is compiled again
        library.replace(path)


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=dict(environment), timeout=600
        )
    except (OSError, subprocess.SubprocessError) as err:
        raise KernelUnavailableError(f"{command[0]} could not be run: {err}") from err
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise KernelUnavailableError(
            f"the kernel does not compile with {command[0]}: {lines[0].strip()[:300]}"
        )


def _sweep(folder: Path, current: Path) -> None:
    """Delete the oldest libraries of other versions of the same sources."""
    name = current.name.partition("-")[0]
    others = [path for path in folder.glob(f"{name}-*{_suffix()}") if path != current]
    others.sort(key=lambda path: path.lstat().st_mtime, reverse=True)
    for path in others[_KEPT:]:
        path.unlink(missing_ok=True)
        _seal(path).unlink(missing_ok=True)
