"""Choosing the kernel: it runs, or one line says why not."""

import time
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_core.backend import Rows
from llm_core.errors import ModelError
from llm_core.kernels import backend as module
from llm_core.kernels.backend import KernelBackend, kernel_backend
from llm_core.kernels.build import KernelUnavailableError
from llm_core.kernels.library import Library
from llm_core.kernels.pack import pack_in_memory
from tests.llm_core.kernels.small import SmallCheckpoint, random_adapter
from tests.threads import in_threads


@pytest.fixture
def compiled(library: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Takes the library that is already compiled, so that a new cache folder costs nothing."""
    path = Path(library.calls._name)
    monkeypatch.setattr(module, "build_library", lambda *_: path)
    return library


def stored(folder: Path, **changes: Any) -> SmallCheckpoint:
    checkpoint = SmallCheckpoint(**changes)
    checkpoint.source = folder / "model.gguf"
    checkpoint.source.write_bytes(b"weights")
    return checkpoint


def test_the_best_target_runs_the_model(compiled: Library, tmp_path: Path) -> None:
    lines: list[str] = []
    backend = kernel_backend(stored(tmp_path), cache_dir=tmp_path, report=lines.append)
    assert backend is not None and backend.invariant
    assert backend.name == f"kernel {compiled.targets[0]}"
    assert (backend.vocabulary, backend.window) == (200, 1024)
    assert backend.kinds["embed"] == "Q8_0" and backend.kinds["1.down"] == "Q4_1"
    assert len(lines) == 1 and "laying out" in lines[0]


def test_a_named_target_runs_or_is_refused_by_name(compiled: Library, tmp_path: Path) -> None:
    checkpoint = stored(tmp_path)
    for target in compiled.targets:
        backend = kernel_backend(checkpoint, cache_dir=tmp_path, kernel=target)
        assert backend is not None and backend.target.startswith(target)
    with pytest.raises(KernelUnavailableError, match=r"kernel .sse9. does not run.*plain"):
        kernel_backend(checkpoint, cache_dir=tmp_path, kernel="sse9")


def test_off_leaves_the_model_to_others(tmp_path: Path) -> None:
    lines: list[str] = []
    checkpoint = stored(tmp_path)
    assert kernel_backend(checkpoint, cache_dir=tmp_path, kernel="off", report=lines.append) is None
    assert lines == [] and not (tmp_path / "packed").exists()


@pytest.mark.parametrize("changes", [{"linear": "F32"}, {"head_dim": 16}], ids=["floats", "shape"])
def test_a_model_it_does_not_run_gives_none_and_a_reason(
    compiled: Library, tmp_path: Path, changes: dict[str, Any]
) -> None:
    lines: list[str] = []
    checkpoint = stored(tmp_path, **changes)
    assert kernel_backend(checkpoint, cache_dir=tmp_path, report=lines.append) is None
    assert len(lines) == 1 and lines[0].startswith("the decode kernel is not used: ")
    with pytest.raises(KernelUnavailableError):
        kernel_backend(checkpoint, cache_dir=tmp_path, kernel="plain")


def test_without_a_compiler_it_gives_none_and_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setenv("CXX", "/nowhere/c++")
    checkpoint = stored(tmp_path)
    assert kernel_backend(checkpoint, cache_dir=tmp_path, report=lines.append) is None
    assert "no C++ compiler runs here" in lines[-1]


def test_calls_from_several_threads_wait_for_each_other(library: Library) -> None:
    backend = KernelBackend(library, pack_in_memory(SmallCheckpoint()), library.targets[0], 2)
    rows = Rows.sequence(list(range(100)), 0)
    expected = backend.forward(rows, [backend.new_cache(112)], range(100), None, 1).numpy()

    def run(_number: int) -> list[Any]:
        cache = backend.new_cache
        return [backend.forward(rows, [cache(112)], range(100), None, 2) for _ in range(5)]

    for logits in chain.from_iterable(in_threads(run, 4)):
        np.testing.assert_array_equal(logits.numpy(), expected)


def test_more_threads_than_cores_are_not_used(library: Library) -> None:
    backend = KernelBackend(library, pack_in_memory(SmallCheckpoint()), library.targets[0], 1)
    rows = Rows.sequence([1, 2, 3], 0)
    few = backend.forward(rows, [backend.new_cache(16)], [2], None, None)
    many = backend.forward(rows, [backend.new_cache(16)], [2], None, 500)
    np.testing.assert_array_equal(few.numpy(), many.numpy())


def test_threads_rest_soon_after_a_pass(library: Library) -> None:
    backend = KernelBackend(library, pack_in_memory(SmallCheckpoint()), library.targets[0], 2)
    cache = backend.new_cache(64)
    for column in range(64):
        backend.forward(Rows.sequence([3], column), [cache], [0], None, 2)
    time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.1  # one that spins takes 0.2


def test_an_adapter_of_another_model_is_refused_by_name(library: Library) -> None:
    backend = KernelBackend(library, pack_in_memory(SmallCheckpoint()), library.targets[0], 1)
    other = random_adapter(SmallCheckpoint(intermediate_size=96), 8)
    with pytest.raises(ModelError, match=r"gate_proj of layer 0 .* does not fit this model"):
        backend.forward(Rows.sequence([1], 0), [backend.new_cache(16)], [0], other, 1)


def test_times_of_the_last_pass_add_up(library: Library) -> None:
    backend = KernelBackend(library, pack_in_memory(SmallCheckpoint()), library.targets[0], 1)
    assert backend.times is None
    rows = Rows.sequence(list(range(64)), 0)
    backend.forward(rows, [backend.new_cache(64)], [63], None, 1)
    times = backend.times
    assert times is not None and times.feed > 0 and times.attend > 0
    parts = times.project + times.attend + times.output + times.feed + times.head + times.other
    assert parts == pytest.approx(times.total, rel=0.2)
