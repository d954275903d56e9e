"""A step of fixed shapes equals the ordinary one; on a GPU, recorded and replayed too."""

import gc

import pytest
import torch

from llm_core.backend import Rows
from llm_core.errors import ModelError
from llm_core.models.cache import TorchCache
from llm_core.models.config import DecoderConfig
from llm_core.models.graph import Slab, SlabPool, StepGraph, static_step
from llm_core.models.load import load_decoder
from llm_core.torch_backend import open_torch_backend, pick_device
from tests.llm_core.models.decoders import family, random_adapter, random_tokens

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.mark.parametrize("name", ["llama 3", "mistral sliding", "qwen2 sliding", "qwen3"])
def test_a_step_over_all_the_room_equals_the_ordinary_one(name: str) -> None:
    held, _ = family(name)
    decoder = load_decoder(held, torch.float32)
    backend = open_torch_backend(held, "float32")
    tokens = random_tokens(16, 97)
    ordinary = backend.new_cache(32)
    cache = TorchCache.empty(decoder.config, 32, torch.float32, torch.device("cpu"))
    for column, token in enumerate(tokens):
        rows = Rows.sequence([token], column)
        expected = backend.forward(rows, [ordinary], [0], None, 1)
        logits = static_step(decoder, cache, torch.tensor([token]), torch.tensor([column]), None)
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_memory_of_an_ended_run_is_lent_again() -> None:
    pool = SlabPool(limit=1)
    first, second = (Slab(torch.zeros(1, 2, 1, 8, 4)) for _ in range(2))
    cache = pool.lend(first)
    other = pool.lend(second)
    assert pool.take(8) is None
    del cache
    gc.collect()
    assert pool.take(16) is None and pool.take(8) is first and pool.take(8) is None
    del other
    pool.lend(first)
    gc.collect()
    assert len(list(iter(lambda: pool.take(8), None))) == 1  # the limit


def test_recordings_of_many_adapters_do_not_pile_up() -> None:
    slab, made = Slab(torch.zeros(1, 2, 1, 8, 4)), list[str]()

    def ask(key: str) -> None:
        def record() -> StepGraph:
            made.append(key)
            return StepGraph.__new__(StepGraph)  # a real one needs a CUDA device

        slab.step(key, record)

    for key in "abcdae":
        ask(key)
    assert made == list("abcde")
    assert list(slab.steps) == list("cdae")  # b was not used for longest


def test_a_device_that_is_not_there_is_refused() -> None:
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(ModelError, match="'tpu' is unknown"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        assert pick_device("auto").type == "cpu"
        with pytest.raises(ModelError, match="no CUDA device"):
            pick_device("cuda")


@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["llama 3", "mistral sliding", "qwen3"])
def test_recorded_steps_equal_those_of_the_cpu(name: str, dtype: str) -> None:
    held, _ = family(name)
    cpu, gpu = (open_torch_backend(held, dtype, device) for device in ("cpu", "cuda"))
    assert gpu.name == f"torch {dtype} cuda"
    adapter = random_adapter(DecoderConfig.read(held.config, held.source))
    tokens = random_tokens(40, 97)
    tolerance = 1e-2 if dtype == "float32" else 1.0
    for change in (None, adapter, None):
        here, there = cpu.new_cache(64), gpu.new_cache(64)
        for backend, cache in ((cpu, here), (gpu, there)):
            backend.forward(Rows.sequence(tokens[:24], 0), [cache], [], change, None)
        for column in range(24, 40):
            rows = Rows.sequence([tokens[column]], column)
            expected = cpu.forward(rows, [here], [0], change, None)
            logits = gpu.forward(rows, [there], [0], change, None)
            torch.testing.assert_close(logits, expected, atol=tolerance, rtol=0)
        assert there.length == 40
