"""The decoder equals transformers and its own slow reference, however a text is cut up."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from llm_core.backend import Rows
from llm_core.checkpoint import Checkpoint, open_checkpoint
from llm_core.errors import ModelError, ModelFileError
from llm_core.loading import resolve
from llm_core.models.config import DecoderConfig, UnsupportedModelError
from llm_core.models.load import load_decoder
from llm_core.models.reference import reference_logits
from llm_core.torch_backend import TorchBackend, open_torch_backend
from tests.llm_core.models.decoders import (
    FAMILIES,
    Held,
    family,
    llama_of,
    random_adapter,
    random_tokens,
)

CLOSE = {"atol": 1e-3, "rtol": 0.0}
SAME = {"atol": 1e-4, "rtol": 0.0}
LENGTH = 50


def whole(backend: TorchBackend, tokens: list[int]) -> Tensor:
    """Logits (T, V) of one pass over everything."""
    cache = backend.new_cache(len(tokens))
    reads = list(range(len(tokens)))
    return backend.forward(Rows.sequence(tokens, 0), [cache], reads, None, 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_transformers_and_the_reference(name: str) -> None:
    held, theirs = family(name)
    tokens = random_tokens(LENGTH, 97)
    ours = whole(open_torch_backend(held, "float32"), tokens)
    with torch.inference_mode():
        expected = theirs(torch.tensor([tokens])).logits[0]
    assert expected.std() > 0.5  # a model that says nothing would equal anything
    torch.testing.assert_close(ours, expected, **CLOSE)
    torch.testing.assert_close(reference_logits(held, tokens), ours, **CLOSE)


@pytest.mark.parametrize("name", ["llama", "mistral sliding", "qwen2 sliding", "qwen3"])
@pytest.mark.parametrize("sizes", [[1] * LENGTH, [7] * 7 + [1], [30, 1, 1, 18]])
def test_chunks_and_steps_equal_one_pass(name: str, sizes: list[int]) -> None:
    backend = open_torch_backend(family(name)[0], "float32")
    tokens = random_tokens(LENGTH, 97)
    cache = backend.new_cache(LENGTH)
    logits = []
    for size in sizes:
        rows = Rows.sequence(tokens[cache.length : cache.length + size], cache.length)
        logits.append(backend.forward(rows, [cache], list(range(size)), None, 1))
    assert cache.length == LENGTH
    torch.testing.assert_close(torch.cat(logits), whole(backend, tokens), **SAME)


@pytest.mark.parametrize("name", ["llama 3", "mistral sliding"])
def test_branches_behind_a_prefix_equal_each_alone(name: str) -> None:
    backend = open_torch_backend(family(name)[0], "float32")
    prefix, one, two = random_tokens(9, 97, 1), random_tokens(8, 97, 2), random_tokens(3, 97, 3)
    cache = backend.new_cache(40)
    backend.forward(Rows.sequence(prefix, 0), [cache], [], None, 1)
    rows = Rows(
        tokens=one + two,
        positions=[*range(9, 17), *range(9, 12)],
        slots=[0] * 11,
        columns=list(range(9, 20)),
        prefixes=[9] * 11,
        starts=[9] * 8 + [17] * 3,
    )
    together = backend.forward(rows, [cache], list(range(11)), None, 1)
    assert cache.length == 20
    torch.testing.assert_close(together[:8], whole(backend, prefix + one)[9:], **SAME)
    torch.testing.assert_close(together[8:], whole(backend, prefix + two)[9:], **SAME)
    cache.truncate(9)
    again = backend.forward(Rows.sequence(two, 9), [cache], [2], None, 1)
    torch.testing.assert_close(again, together[-1:], **SAME)


def test_sequences_in_one_pass_do_not_see_each_other() -> None:
    backend = open_torch_backend(family("mistral sliding")[0], "float32")
    texts = [random_tokens(size, 97, size) for size in (5, 12, 9)]
    caches = [backend.new_cache(20) for _ in texts]
    for text, cache in zip(texts, caches, strict=True):
        backend.forward(Rows.sequence(text[:-1], 0), [cache], [], None, 1)
    ends = [len(text) - 1 for text in texts]
    order = [1, 2, 0]  # rows come in any order, and so do the reads
    rows = Rows(
        tokens=[texts[slot][-1] for slot in order],
        positions=[ends[slot] for slot in order],
        slots=order,
        columns=[ends[slot] for slot in order],
        prefixes=[0] * 3,
        starts=[0] * 3,
    )
    logits = backend.forward(rows, caches, [2, 0, 1], None, 1)
    expected = torch.cat([whole(backend, text)[-1:] for text in texts])
    torch.testing.assert_close(logits, expected, **SAME)
    assert [cache.length for cache in caches] == [len(text) for text in texts]


def test_a_block_of_columns_moves_to_another_cache() -> None:
    backend = open_torch_backend(family("llama")[0], "float32")
    tokens = random_tokens(20, 97)
    source, target = backend.new_cache(20), backend.new_cache(64)
    backend.forward(Rows.sequence(tokens, 0), [source], [], None, 1)
    first, second = source.read(0, 8), source.read(8, 16)
    source.truncate(0)
    backend.forward(Rows.sequence(tokens[::-1], 0), [source], [], None, 1)  # blocks are copies
    target.write(first, 8)
    target.write(second, 8)
    logits = backend.forward(Rows.sequence(tokens[16:], 16), [target], [3], None, 1)
    torch.testing.assert_close(logits, whole(backend, tokens)[-1:], **SAME)
    per_token = first.numel() * first.element_size() // 8
    assert per_token == backend.column_bytes


def test_columns_outside_the_cache_are_refused() -> None:
    backend = open_torch_backend(family("llama")[0], "float32")
    cache = backend.new_cache(4)
    with pytest.raises(ValueError, match="columns 0 to 4"):
        backend.forward(Rows.sequence([1] * 5, 0), [cache], [], None, 1)
    with pytest.raises(ValueError, match="columns 2 to 3"):
        backend.forward(Rows.sequence([1] * 2, 2), [cache], [], None, 1)
    with pytest.raises(ValueError, match="hold"):
        cache.read(0, 1)


@pytest.mark.parametrize("name", ["llama with biases", "qwen3"])
def test_an_adapter_changes_what_the_reference_says(name: str) -> None:
    held, _ = family(name)
    backend = open_torch_backend(held, "float32")
    adapter = random_adapter(DecoderConfig.read(held.config, held.source))
    tokens = random_tokens(12, 97)
    reads = list(range(12))
    rows = Rows.sequence(tokens, 0)
    ours = backend.forward(rows, [backend.new_cache(12)], reads, adapter, 1)
    torch.testing.assert_close(ours, reference_logits(held, tokens, adapter), **SAME)
    bare = backend.forward(rows, [backend.new_cache(12)], reads, None, 1)
    assert (ours - bare).abs().max() > 0.5
    torch.testing.assert_close(bare, reference_logits(held, tokens), **SAME)


def test_bfloat16_stays_near_float32() -> None:
    held, _ = family("qwen3")
    tokens = random_tokens(LENGTH, 97)
    full, half = (whole(open_torch_backend(held, kind), tokens) for kind in ("float32", "bfloat16"))
    assert half.dtype == torch.float32
    divergence = (full.softmax(-1) * (full.log_softmax(-1) - half.log_softmax(-1))).sum(-1)
    assert 0 < divergence.mean() < 0.02


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tensors: tensors.pop("model.norm.weight"), "model.norm.weight"),
        (lambda tensors: tensors.update({"model.extra": torch.zeros(1)}), "model.extra"),
        (
            lambda tensors: tensors.update(
                {"model.layers.0.mlp.up_proj.weight": torch.ones(3, 48)}
            ),
            "up_proj",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    change: Callable[[dict[str, Tensor]], None], named: str
) -> None:
    held, _ = family("llama")
    changed = dict(held.tensors)
    change(changed)
    with pytest.raises(ModelFileError, match=named) as caught:
        load_decoder(_Strict(held.source, held.config, changed), torch.float32)
    assert "\n" not in str(caught.value)


class _Strict(Held):
    def tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise ModelFileError(f"{self.source} has no tensor {name}")
        return self.tensors[name]


def test_sizes_that_the_weights_do_not_have_are_refused_before_memory_is_taken() -> None:
    held, _ = family("llama")
    grown = dataclasses.replace(held, config={**held.config, "intermediate_size": 1 << 24})
    grown.config.update(hidden_size=1 << 24, head_dim=8)  # a matrix of a petabyte
    with pytest.raises(ModelFileError, match="do not make up"):
        open_torch_backend(grown)


def test_a_forked_process_runs_one_thread_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_torch_backend(family("llama")[0], "float32")
    before = whole(backend, [1, 2])
    monkeypatch.setattr("os.getpid", lambda: -1)  # as a child sees it
    torch.testing.assert_close(whole(backend, [1, 2]), before, **SAME)
    with pytest.raises(ModelError, match="in the worker, or with one thread"):
        backend.forward(Rows.sequence([1], 0), [backend.new_cache(1)], [], None, 2)


def test_dynamic_scaling_is_refused() -> None:
    held, _ = family("llama")
    scaling = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    changed = dataclasses.replace(held, config={**held.config, "rope_parameters": scaling})
    with pytest.raises(UnsupportedModelError, match="dynamic"):
        open_torch_backend(changed)


@pytest.fixture(scope="module")
def real() -> Checkpoint:
    return open_checkpoint(resolve("smollm2-135m"))


@pytest.mark.model
def test_the_real_model_equals_transformers_and_the_reference(real: Checkpoint) -> None:
    backend = open_torch_backend(real, "float32")
    tokens = random_tokens(24, backend.vocabulary)
    ours = whole(backend, tokens)
    torch.testing.assert_close(reference_logits(real, tokens[:6]), ours[:6], **CLOSE)
    with torch.inference_mode():
        expected = llama_of(real)(torch.tensor([tokens])).logits[0]
    torch.testing.assert_close(ours, expected, **CLOSE)
