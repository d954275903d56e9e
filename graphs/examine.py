"""What `graphs.doctor` looks at: models, indexes, packages and the machine, each with a mend.

Nothing is changed and nothing heavy is imported; a check that fails names what to run.
"""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from graphs.settings import Settings, load_settings, sample_documents
from llm_core import store
from llm_core.errors import ModelError
from llm_core.kernels.build import KernelUnavailableError, find_compiler
from llm_core.loading import model_hash, resolve
from llm_core.settings import Settings as ModelSettings
from llm_core.settings import child_environment
from llm_core.settings import load_settings as load_model_settings
from retrievers.errors import IndexStoreError

State = Literal["ok", "note", "missing", "damaged"]
SHOWN = ("torch", "transformers", "langgraph", "langchain-core", "tokenizers", "faiss-cpu")
CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")
LEAST_FREE = 500_000_000  # bytes: an index of a few thousand pages, and the runs


@dataclass(frozen=True)
class Check:
    """One line of the report; `missing` and `damaged` keep a research run from working."""

    section: Literal["models", "index", "packages", "machine"]
    name: str
    state: State
    detail: str
    mend: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        return self.state in ("ok", "note")


def examine(index: Path | None = None) -> list[Check]:
    """Look at everything a research run needs; `index` is one folder instead of all known."""
    settings, model_settings = load_settings(), load_model_settings()
    return [
        *_models(settings, model_settings),
        *_indexes(settings, index),
        *_packages(),
        *_machine(settings, model_settings),
    ]


def as_json(checks: Sequence[Check]) -> dict[str, Any]:
    """Return the report as one JSON-able object: `ok`, then the checks by section."""
    report: dict[str, Any] = {"ok": all(check.works for check in checks)}
    for section in ("models", "index", "packages", "machine"):
        report[section] = [asdict(check) for check in checks if check.section == section]
    return report


def _models(settings: Settings, model_settings: ModelSettings) -> Iterator[Check]:
    for use, name in (("chat", settings.model), ("embeddings", settings.embeddings)):
        if use == "chat" and is_served(name, settings):
            detail = f"{use}, served from outside; not looked at"
            yield Check("models", name, "note", detail, facts={"use": use})
        else:
            yield _local_model(use, name, model_settings.cache_dir)


def is_served(name: str, settings: Settings) -> bool:
    """Whether a chat model comes from a provider or the hub at run time."""
    if name.startswith("local:") or Path(name).expanduser().exists():
        return False
    return ":" in name or settings.base_url is not None


def _local_model(use: str, name: str, cache_dir: Path) -> Check:
    facts: dict[str, Any] = {"use": use}
    try:
        folder = resolve(name, cache_dir, "embeddings" if use == "embeddings" else "chat")
    except ModelError as error:
        absent = not (store.models_folder(cache_dir) / name.removeprefix("local:")).exists()
        detail, _, mend = str(error).rpartition("; ")
        return Check("models", name, "missing" if absent else "damaged", detail, mend, facts)
    facts |= {"path": str(folder), "hash": model_hash(folder)}
    if store.read_manifest(folder) is not None:
        damage = store.find_damage(folder, full=True)
        if damage is not None:
            return Check("models", name, "damaged", damage, f"run {store.FETCH}", facts)
    size = sum(file.stat().st_size for file in folder.iterdir())
    detail = f"{use}, {_megabytes(size)}, {facts['hash'][:12]}, {folder}"
    return Check("models", name, "ok", detail, facts={**facts, "bytes": size})


def _indexes(settings: Settings, index: Path | None) -> Iterator[Check]:
    folders = [index] if index is not None else _known_indexes(settings)
    for folder in folders:
        yield _index(folder)
    if not folders:
        detail = f"none in {settings.data_dir / 'index'}; the first question makes one"
        yield Check("index", "indexes", "note", detail)


def _known_indexes(settings: Settings) -> list[Path]:
    return sorted(file.parent for file in (settings.data_dir / "index").glob("*/corpus.sqlite"))


def _index(folder: Path) -> Check:
    from retrievers.corpus import Corpus
    from retrievers.store_errors import DamagedIndexError

    name = str(folder)
    if not (folder / "corpus.sqlite").is_file():
        return Check("index", name, "note", "no index there; the first question makes it")
    corpus = Corpus(folder)
    try:
        corpus.check()
        facts = corpus.manifest()
    except DamagedIndexError as error:
        detail = f"{error}; the next question rebuilds it from the files"
        return Check("index", name, "note", detail)
    except IndexStoreError as error:
        return Check("index", name, "damaged", str(error), "use another folder with --index")
    finally:
        corpus.close()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    detail = f"{facts['documents']} documents, {facts['passages']} passages, {_megabytes(size)}"
    if not facts["index"]:
        return Check("index", name, "note", f"{detail}; unfinished: the next question goes on")
    return Check("index", name, "ok", detail, facts={**facts, "bytes": size})


def _packages() -> Iterator[Check]:
    from packaging.requirements import Requirement

    yield Check("packages", "python", "ok", platform.python_version())
    try:
        lines = importlib.metadata.requires("deerstalker") or []
    except importlib.metadata.PackageNotFoundError:
        mend = "run `pip install -c constraints.txt -e .` in the source tree"
        yield Check("packages", "deerstalker", "missing", "not installed", mend)
        return
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            check = _package(requirement.name, requirement)
            if not check.works or requirement.name in SHOWN:
                yield check


def _package(name: str, requirement: Any) -> Check:
    mend = f"run `pip install -c constraints.txt '{name}{requirement.specifier}'`"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", name, "missing", "not installed", mend)
    if not requirement.specifier.contains(version, prereleases=True):
        detail = f"{version} is not {requirement.specifier}"
        return Check("packages", name, "damaged", detail, mend)
    return Check("packages", name, "ok", version)


def _machine(settings: Settings, model_settings: ModelSettings) -> Iterator[Check]:
    cores = _usable_cores()
    flags = _cpu_flags()
    threads = model_settings.threads
    chosen = f"{threads} threads (DEERSTALKER_THREADS)" if threads else "threads chosen by torch"
    detail = f"{platform.machine()}, {cores} cores, {' '.join(flags) or 'flags unknown'}; {chosen}"
    facts = {"cores": cores, "flags": flags, "threads": threads}
    yield Check("machine", "processor", "ok", detail, facts=facts)
    yield _compiler(model_settings)
    yield _disk(settings.data_dir)
    samples = len(sample_documents())
    shipped = f"{samples} shipped" if samples else "none shipped here; name your own with --docs"
    yield Check("machine", "samples", "ok" if samples else "note", shipped)


def _compiler(model_settings: ModelSettings) -> Check:
    """Look for what compiles the kernel; without it the same model runs in torch, slower."""
    if model_settings.kernel == "off":
        return Check("machine", "compiler", "note", "not used (DEERSTALKER_KERNEL=off)")
    try:
        compiler = find_compiler(child_environment())
    except KernelUnavailableError as error:
        reason, _, mend = str(error).partition("; ")
        return Check("machine", "compiler", "note", f"{reason}: torch runs the model", mend)
    detail = f"{' '.join(compiler.command)}, {compiler.version}"
    return Check("machine", "compiler", "ok", detail)


def _disk(data_dir: Path) -> Check:
    """Look at the folder of indexes and runs: whether it can be written, and room in it."""
    there = next(path for path in (data_dir, *data_dir.absolute().parents) if path.exists())
    mend = "set DEERSTALKER_DATA_DIR to a folder of yours"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Check("machine", "data", "damaged", f"{there} cannot be written", mend)
    free = shutil.disk_usage(there).free
    facts = {"path": str(data_dir), "free_bytes": free}
    detail = f"{_megabytes(free)} free, {data_dir}"
    if free < LEAST_FREE:
        mend = f"free some space: {_megabytes(LEAST_FREE)} are wanted"
        return Check("machine", "data", "damaged", detail, mend, facts)
    return Check("machine", "data", "ok", detail, facts=facts)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: what this process may use, not what is there
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_flags() -> list[str]:
    """The vector instructions that matter to torch, where Linux tells them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    line = next((x for x in text.splitlines() if x.lower().startswith(("flags", "features"))), "")
    present = set(line.split())
    return [flag for flag in CPU_FLAGS if flag in present]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 1e10 else f"{size / 1e9:,.0f} GB"
