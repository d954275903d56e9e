"""The kernel on the default model: as near to float32 as the best runtimes for this file are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from llm_core.adapters import TARGETS, Adapter
from llm_core.backend import Backend, Rows
from llm_core.checkpoint import Checkpoint, open_checkpoint
from llm_core.kernels.backend import KernelBackend
from llm_core.kernels.library import Library
from llm_core.kernels.pack import PackedModel, load_packed
from llm_core.loading import resolve
from llm_core.settings import load_settings
from llm_core.tokenizer import TextTokenizer
from llm_core.torch_backend import open_torch_backend

TEXT = Path(__file__).parents[3] / "samples" / "the-adventures-of-sherlock-holmes.txt"
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def folder() -> Path:
    return resolve("smollm2-135m")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return open_checkpoint(folder)


@pytest.fixture(scope="module")
def packed(checkpoint: Checkpoint) -> PackedModel:
    return load_packed(checkpoint, load_settings().cache_dir, None)


@pytest.fixture(scope="module")
def tokens(folder: Path, checkpoint: Checkpoint) -> list[int]:
    text = TEXT.read_text(encoding="utf-8")[20_000:24_000]
    tokenizer = TextTokenizer(folder, checkpoint.config["vocab_size"])
    return tokenizer.encode(text)[:512]


def logits_of(
    backend: Backend, tokens: list[int], size: int, adapter: Adapter | None = None
) -> Tensor:
    """Logits (T, V) of a sequence fed in chunks."""
    cache = backend.new_cache(len(tokens))
    made = []
    for at in range(0, len(tokens), size):
        piece = tokens[at : at + size]
        rows = Rows.sequence(piece, at)
        made.append(backend.forward(rows, [cache], range(len(piece)), adapter, 2))
    return torch.cat(made)


@pytest.fixture(scope="module")
def eager(checkpoint: Checkpoint) -> Backend:
    """The same weights in float32."""
    return open_torch_backend(checkpoint, "float32", "cpu")


@pytest.fixture(scope="module")
def exact(eager: Backend, tokens: list[int]) -> Tensor:
    """Log-probabilities (T, V) of the float32 model."""
    return logits_of(eager, tokens, 256).log_softmax(-1)


def divergence(exact: Tensor, logits: Tensor) -> float:
    """Mean KL divergence from the float32 model, in nats."""
    ours = logits.log_softmax(-1)
    return float((exact.exp() * (exact - ours)).sum(-1).mean())


def test_every_target_stays_within_the_bound_of_float32(
    library: Library, packed: PackedModel, tokens: list[int], exact: Tensor
) -> None:
    for target in library.targets:
        count = 96 if target == "plain" else 512  # plain takes a second for 50 tokens
        logits = logits_of(KernelBackend(library, packed, target, 2), tokens[:count], 256)
        assert divergence(exact[:count], logits) <= 0.004, target


def strong_adapter(checkpoint: Checkpoint, packed: PackedModel, rank: int = 16) -> Adapter:
    """Changes all weights of all layers, each by a tenth of its norm."""
    random = torch.Generator().manual_seed(0)
    pairs = {}
    for layer in range(packed.shape.num_hidden_layers):
        for target in TARGETS:
            part = "self_attn" if target[0] in "qkvo" else "mlp"
            weight = checkpoint.tensor(f"model.layers.{layer}.{part}.{target}.weight")
            a = torch.randn(rank, weight.shape[1], generator=random)
            b = torch.randn(weight.shape[0], rank, generator=random)
            pairs[layer, target] = (a, b * (0.1 * weight.float().norm() / (b @ a).norm()))
    return Adapter("strong", rank, 1.0, pairs)


def test_an_adapter_in_8_bits_stays_within_the_bound_of_float32(
    library: Library,
    checkpoint: Checkpoint,
    packed: PackedModel,
    tokens: list[int],
    eager: Backend,
    exact: Tensor,
) -> None:
    adapter, count = strong_adapter(checkpoint, packed), 256
    changed = logits_of(eager, tokens[:count], 256, adapter).log_softmax(-1)
    assert divergence(changed, exact[:count]) > 0.1  # the change is no small one
    backend = KernelBackend(library, packed, library.targets[0], 2)
    assert divergence(changed, logits_of(backend, tokens[:count], 256, adapter)) <= 0.005


def test_decoding_gives_the_bits_of_prefill(
    library: Library, packed: PackedModel, tokens: list[int]
) -> None:
    backend = KernelBackend(library, packed, library.targets[0], 2)
    whole = logits_of(backend, tokens[:160], 160)
    np.testing.assert_array_equal(logits_of(backend, tokens[:160], 1).numpy(), whole.numpy())
    np.testing.assert_array_equal(logits_of(backend, tokens[:160], 37).numpy(), whole.numpy())
