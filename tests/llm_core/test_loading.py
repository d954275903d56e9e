"""Names resolve to checked folders, or to one line that says what to do."""

import json
import os
import shutil
from pathlib import Path

import pytest

from llm_core import store
from llm_core.convert import describe_gguf
from llm_core.embeddings import LocalEmbeddings
from llm_core.errors import ModelError, ModelFileError, ModelNotFoundError
from llm_core.loading import model_hash, resolve
from llm_core.settings import load_settings
from tests.tiny_models import edit_json, write_bert, write_gguf


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that holds a whole model named `minilm-l6` (a tiny random one)."""
    cache = tmp_path / "cache"
    with store.writing(cache), store.scratch(cache) as work:
        (work / "prepared").mkdir()
        write_bert(work / "prepared")
        store.publish(work / "prepared", cache, "minilm-l6", {"from": "test"})
    return cache


def overwrite(path: Path, data: bytes) -> None:
    """Change a file's bytes and make sure that its time stamp changes with them."""
    stamp = path.stat().st_mtime_ns
    path.write_bytes(data)
    os.utime(path, ns=(stamp + 10**9, stamp + 10**9))


@pytest.mark.parametrize("name", ["minilm-l6", "local:minilm-l6"])
def test_a_default_model_resolves_to_its_cache_folder(cache: Path, name: str) -> None:
    folder = resolve(name, cache)
    assert folder == cache / "models" / "minilm-l6"
    manifest = store.read_manifest(folder)
    assert manifest is not None and model_hash(folder) == manifest.model_hash


def test_a_missing_default_model_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"smollm2-135m .*graphs\.doctor --fetch"):
        resolve("smollm2-135m", tmp_path)


def test_an_unknown_name_lists_the_models_of_its_kind(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"'gpt-9': give smollm2-135m, a model folder"):
        resolve("gpt-9", tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"'e5': give minilm-l6, a model folder"):
        LocalEmbeddings("e5", cache_dir=tmp_path).embed_query("stone")


def test_changed_bytes_of_the_same_size_are_found(cache: Path) -> None:
    weights = cache / "models" / "minilm-l6" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    overwrite(weights, bytes(data))
    with pytest.raises(ModelFileError, match=r"does not match its SHA-256.*doctor --fetch"):
        resolve("minilm-l6", cache)


def test_a_full_check_does_not_trust_the_time_stamp(cache: Path) -> None:
    weights = cache / "models" / "minilm-l6" / "model.safetensors"
    stamp = weights.stat().st_mtime_ns
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    os.utime(weights, ns=(stamp, stamp))
    assert store.find_damage(weights.parent) is None
    assert "does not match" in str(store.find_damage(weights.parent, full=True))


def test_a_copied_cache_is_read_again_and_accepted(cache: Path) -> None:
    weights = cache / "models" / "minilm-l6" / "model.safetensors"
    overwrite(weights, weights.read_bytes())
    assert resolve("minilm-l6", cache) == weights.parent


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest"])
def test_damaged_cache_folders_are_refused(cache: Path, damage: str) -> None:
    folder = cache / "models" / "minilm-l6"
    if damage == "cut":
        (folder / "model.safetensors").write_bytes(b"")
    elif damage == "gone":
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "manifest.json").write_text("{")
    with pytest.raises(ModelFileError, match=r"damaged.*doctor --fetch"):
        resolve("minilm-l6", cache)


def test_a_plain_folder_resolves_to_itself(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model")
    assert resolve(str(folder), tmp_path) == folder
    assert resolve(f"local:{folder}", tmp_path) == folder


def test_the_hash_of_a_folder_changes_with_its_files(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model")
    before = model_hash(folder)
    assert before == model_hash(folder)
    edit_json(folder / "config.json", note="changed")
    assert model_hash(folder) != before


@pytest.mark.parametrize("trick", ["another path", "a set time stamp", "an unlisted file"])
def test_a_manifest_in_a_strangers_folder_is_not_believed(
    cache: Path, tmp_path: Path, trick: str
) -> None:
    known = cache / "models" / "minilm-l6"
    folder = Path(shutil.copytree(known, tmp_path / "stranger"))
    assert model_hash(resolve(str(folder), cache)) == model_hash(known)
    if trick == "another path":
        manifest = json.loads((folder / store.MANIFEST).read_text())
        manifest["files"] |= {"/dev/zero": {"sha256": "", "size": 0, "mtime_ns": 0}}
        hashes = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        edit_json(folder / store.MANIFEST, files=manifest["files"])
        edit_json(folder / store.MANIFEST, model_hash=store.combined_hash(hashes))
        assert resolve(str(folder), cache) == folder, "without a manifest it is a plain folder"
    elif trick == "a set time stamp":
        weights = folder / "model.safetensors"
        before = weights.stat()
        weights.write_bytes(bytes(before.st_size))
        os.utime(weights, ns=(before.st_mtime_ns, before.st_mtime_ns))
        with pytest.raises(ModelFileError, match="does not match its SHA-256"):
            resolve(str(folder), cache)
    else:
        shutil.copy(folder / "model.safetensors", folder / "more.safetensors")
        assert model_hash(resolve(str(folder), cache)) != model_hash(known)


def test_pickle_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(ModelFileError, match=r"pickle weights \(pytorch_model\.bin\)"):
        resolve(str(tmp_path), tmp_path)


def test_models_with_code_of_their_own_are_refused(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model")
    edit_json(folder / "config.json", auto_map={"AutoModel": "code.Model"})
    with pytest.raises(ModelFileError, match="never run"):
        resolve(str(folder), tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_an_incomplete_folder_names_the_missing_file(tmp_path: Path, name: str) -> None:
    folder = write_bert(tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises(ModelFileError, match=name.replace("model", "")):
        resolve(str(folder), tmp_path)


def test_a_broken_configuration_is_named(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model")
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelFileError, match=r"config\.json is not valid JSON"):
        resolve(str(folder), tmp_path)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"model\.onnx is a file"):
        resolve(str(tmp_path / "model.onnx"), tmp_path)


def test_a_gguf_file_is_described_once(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "tiny.gguf")
    first = resolve(str(source), tmp_path / "cache")
    made = (first / "manifest.json").stat().st_mtime_ns
    assert resolve(str(source), tmp_path / "cache") == first
    assert (first / "manifest.json").stat().st_mtime_ns == made
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(source.read_bytes())
    assert resolve(str(copy), tmp_path / "cache") == first


def test_the_weights_of_a_gguf_file_are_not_copied(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "tiny.gguf")
    source.chmod(0o640)
    folder = resolve(str(source), tmp_path / "cache")
    assert (folder / "model.gguf").samefile(source)
    assert source.stat().st_mode & 0o777 == 0o640
    assert model_hash(folder) == model_hash(resolve(str(source), tmp_path / "other"))


def test_a_gguf_file_that_moved_is_found_again(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "tiny.gguf")
    before = model_hash(resolve(str(source), tmp_path / "cache"))
    moved = source.rename(tmp_path / "moved.gguf")
    folder = resolve(str(moved), tmp_path / "cache")
    assert (folder / "model.gguf").samefile(moved) and model_hash(folder) == before


def test_a_changed_gguf_file_is_described_anew(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "tiny.gguf")
    first = resolve(str(source), tmp_path / "cache")
    write_gguf(source, seed=1)
    second = resolve(str(source), tmp_path / "cache")
    assert second != first and model_hash(second) != model_hash(first)


def test_a_damaged_folder_of_a_gguf_file_is_made_again(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "tiny.gguf")
    folder = resolve(str(source), tmp_path / "cache")
    whole = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(b"")
    assert resolve(str(source), tmp_path / "cache") == folder
    assert (folder / "tokenizer.json").read_bytes() == whole


def test_a_model_that_another_release_made_is_to_be_fetched_again(cache: Path) -> None:
    manifest = cache / "models" / "minilm-l6" / "manifest.json"
    edit_json(manifest, source={"converter": 0})
    with pytest.raises(ModelFileError, match=r"made by another release; run .*doctor --fetch"):
        resolve("minilm-l6", cache)


def test_a_missing_gguf_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"none\.gguf"):
        resolve(str(tmp_path / "none.gguf"), tmp_path)


def test_a_hub_model_must_already_be_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="owner/name is not in the Hugging Face cache"):
        resolve("local:owner/name", tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(ModelError, match=r"cannot write the model cache .*DEERSTALKER_CACHE_DIR"),
        store.writing(tmp_path / "file"),
    ):
        raise AssertionError("the lock was given")


def test_what_a_killed_writer_left_is_swept(cache: Path) -> None:
    left = cache / "models" / ".tmp-killed"
    (left / "deep").mkdir(parents=True)
    with store.writing(cache):
        assert not left.exists()
    assert store.find_damage(cache / "models" / "minilm-l6", full=True) is None


def test_publishing_over_a_damaged_model_replaces_it(cache: Path) -> None:
    folder = cache / "models" / "minilm-l6"
    (folder / "model.safetensors").write_bytes(b"")
    with store.writing(cache), store.scratch(cache) as work:
        (work / "prepared").mkdir()
        (work / "prepared" / "only.json").write_text("{}")
        store.publish(work / "prepared", cache, "minilm-l6", {})
    assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "only.json"]
    assert json.loads((folder / "manifest.json").read_text())["files"].keys() == {"only.json"}


def test_settings_name_a_bad_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEERSTALKER_THREADS", "many")
    with pytest.raises(ModelError, match="DEERSTALKER_THREADS='many' is not usable"):
        load_settings()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEERSTALKER_CACHE_DIR", "/some/where")
    monkeypatch.setenv("DEERSTALKER_DTYPE", "float32")
    settings = load_settings()
    assert (settings.cache_dir, settings.dtype) == (Path("/some/where"), "float32")


def test_a_folder_may_hold_its_weights_as_gguf(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    describe_gguf(write_gguf(folder / "model.gguf"), folder)
    assert resolve(str(folder), tmp_path) == folder
    before = model_hash(folder)
    write_gguf(folder / "model.gguf", seed=1)
    assert model_hash(folder) != before
    (folder / "model.gguf").rename(folder / "other.gguf")
    with pytest.raises(ModelFileError, match=r"give the path of other\.gguf in it"):
        resolve(str(folder), tmp_path)
