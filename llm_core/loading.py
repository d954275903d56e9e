"""From the name of a model to a folder of checked files on this machine.

Nothing here downloads: a name that is not found says what exists and how to get it.
"""

from pathlib import Path
from typing import Literal

from llm_core import store
from llm_core.catalogue import GGUF_NAME, MODELS
from llm_core.errors import ModelFileError, ModelNotFoundError
from llm_core.jsonfile import read_json
from llm_core.settings import load_settings

LOCAL = "local:"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_HASHED = ("*.safetensors", GGUF_NAME, "*.json", "*.jinja", "*.model", "*.txt")


def resolve(
    name: str, cache_dir: Path | None = None, kind: Literal["chat", "embeddings"] = "chat"
) -> Path:
    """Return the folder of a model: config.json, tokenizer files, safetensors or model.gguf.

    `name` is a default model (`smollm2-135m`, with or without `local:`), a folder, a
    `.gguf` file (described once in the cache), or `local:OWNER/NAME` for a model that
    is already in the Hugging Face cache. `kind` is that of the default
    models which the error of an unknown name lists. Raises `ModelNotFoundError` with the mend, or
    `ModelFileError` for damaged files and pickle weights.
    """
    cache_dir = load_settings().cache_dir if cache_dir is None else cache_dir
    short = name.removeprefix(LOCAL)
    if any(model.name == short for model in MODELS):
        return _default_model(short, cache_dir)
    path = Path(short).expanduser()
    if path.suffix.lower() == ".gguf":
        return _described(path, cache_dir)
    if path.is_dir():
        return _checked_folder(path, cache_dir)
    if path.is_file():
        raise ModelFileError(f"{path} is a file; give a model folder or a .gguf file")
    if name.startswith(LOCAL) and short.count("/") == 1:
        return _from_hub_cache(short, cache_dir)
    names = ", ".join(model.name for model in MODELS if model.kind == kind)
    raise ModelNotFoundError(
        f"there is no model {name!r}: give {names}, a model folder, a .gguf file, "
        f"or local:OWNER/NAME from the Hugging Face cache"
    )


def model_hash(path: Path) -> str:
    """Return one SHA-256 over the files of a model folder, as its identity in manifests."""
    manifest = store.read_manifest(path)
    files = sorted({file for pattern in _HASHED for file in path.glob(pattern)})
    files = [file for file in files if file.name != store.MANIFEST]
    if manifest is not None and {file.name for file in files} <= manifest.files.keys():
        return manifest.model_hash
    return store.combined_hash({file.name: store.sha256_of(file) for file in files})


def _default_model(name: str, cache_dir: Path) -> Path:
    folder = store.models_folder(cache_dir) / name
    layout = next(model.layout for model in MODELS if model.name == name)
    if not folder.exists():
        raise ModelNotFoundError(
            f"the default model {name} is not in {store.models_folder(cache_dir)}; "
            f"run {store.FETCH} once"
        )
    manifest = store.require_whole(folder)
    if manifest.source.get("converter", layout) != layout:
        raise ModelFileError(
            f"the cached model {folder} was made by another release; run {store.FETCH} to renew it"
        )
    return folder


def _checked_folder(folder: Path, cache_dir: Path) -> Path:
    if store.read_manifest(folder) is not None:
        ours = folder.resolve().parent == store.models_folder(cache_dir).resolve()
        store.require_whole(folder, full=not ours)  # time stamps can be set by anybody
    if not (folder / GGUF_NAME).is_file() and not any(folder.glob("*.safetensors")):
        others = sorted(file.name for file in folder.iterdir() if file.suffix.lower() == ".gguf")
        if others:
            raise ModelFileError(f"{folder} is no model folder; give the path of {others[0]} in it")
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
        if pickles:
            raise ModelFileError(
                f"{folder} has pickle weights ({pickles[0]}), which can run code when loaded; "
                "convert them to safetensors"
            )
        raise ModelFileError(
            f"{folder} holds neither {GGUF_NAME} nor a *.safetensors file; give a model folder"
        )
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelFileError(f"{folder} lacks {name}; copy the whole model folder")
    config = read_json(folder / "config.json")
    if "auto_map" in config:
        raise ModelFileError(
            f"{folder} needs code of its own to load (auto_map in config.json), "
            "which is never run; use a model of a known architecture"
        )
    return folder


def _described(source: Path, cache_dir: Path) -> Path:
    """Return the folder around a GGUF file, made on first use and found by hash.

    The weights stay where they are: the folder records their path.
    """
    if not source.is_file():
        raise ModelNotFoundError(f"there is no file {source}; give the path of a .gguf file")
    from llm_core.convert import CONVERTER, convert_gguf

    source = source.resolve()
    status = source.stat()
    stamp = {
        "path": str(source),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "converter": CONVERTER,
    }
    for folder in sorted(store.models_folder(cache_dir).glob("gguf-*")):
        manifest = store.read_manifest(folder)
        if manifest is not None and stamp.items() <= manifest.source.items():
            if store.find_damage(folder) is None:
                return folder
            break
    digest = store.sha256_of(source)
    name = f"gguf-{digest[:16]}-{CONVERTER}"
    folder = store.models_folder(cache_dir) / name
    if store.find_damage(folder) is None:
        return folder
    with store.writing(cache_dir), store.scratch(cache_dir) as work:
        if store.find_damage(folder) is not None:  # not made by another process meanwhile
            prepared = work / "prepared"
            prepared.mkdir()
            convert_gguf(source, prepared)
            made_of = {**stamp, "sha256": digest}
            store.publish(prepared, cache_dir, name, made_of, {GGUF_NAME: digest})
    return folder


def _from_hub_cache(repository: str, cache_dir: Path) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(repository, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ModelNotFoundError(
            f"{repository} is not in the Hugging Face cache of this machine; "
            f"run `hf download {repository}` once, or give a model folder"
        ) from error
    return _checked_folder(Path(folder), cache_dir)
