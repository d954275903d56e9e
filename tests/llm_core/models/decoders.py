"""Decoders for tests: random ones of every family, and transformers' models of the same weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llm_core.adapters import TARGETS, Adapter, matrix_shape
from llm_core.checkpoint import Checkpoint
from llm_core.models.config import DecoderConfig

SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "llama tied": {"model_type": "llama", "tie_word_embeddings": True},
    "llama with biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "llama linear": {"model_type": "llama", "rope_parameters": LINEAR},
    "llama 3": {"model_type": "llama", "rope_parameters": LLAMA3},
    "llama wide heads": {"model_type": "llama", "head_dim": 16, "rope_parameters": YARN},
    "mistral": {"model_type": "mistral", "sliding_window": None, "head_dim": 8},
    "mistral sliding": {"model_type": "mistral", "sliding_window": 7},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True, "rope_parameters": YARN},
    "qwen2 sliding": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 5,
        "max_window_layers": 1,
    },
    "qwen3": {"model_type": "qwen3", "head_dim": 12, "tie_word_embeddings": True},
}


@dataclass(frozen=True)
class Held:
    """Tensors in memory that answer as a checkpoint does."""

    source: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.tensors)

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]


def family(name: str, seed: int = 0) -> tuple[Held, Any]:
    """Random weights of a family, and transformers' model of them, in float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {**SMALL, **FAMILIES[name]}
    config = AutoConfig.for_model(**settings)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, which start flat
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    tensors = {key: value.detach().clone() for key, value in model.state_dict().items()}
    if settings.get("tie_word_embeddings"):
        del tensors["lm_head.weight"]
    raw = config.to_dict()
    return Held(Path("tiny") / name, raw, tensors), model.train(False)


def llama_of(checkpoint: Checkpoint) -> Any:
    """Transformers' Llama with the weights of a checkpoint, in float32."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.initialization import no_init_weights

    with no_init_weights():  # all of them are loaded below
        model = LlamaForCausalLM._from_config(LlamaConfig(**checkpoint.config), dtype=torch.float32)
    state = {name: checkpoint.tensor(name).float() for name in checkpoint.names}
    missing = model.load_state_dict(state, strict=False, assign=True).missing_keys
    assert missing in ([], ["lm_head.weight"])
    model.tie_weights()
    return model.train(False)


def random_tokens(count: int, vocabulary: int, seed: int = 0) -> list[int]:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocabulary, (count,), generator=random).tolist()


def random_adapter(config: DecoderConfig, seed: int = 0, rank: int = 4) -> Adapter:
    """Changes of some targets in some layers, strong enough to be seen."""
    random = torch.Generator().manual_seed(seed)
    pairs = {}
    for layer in range(config.num_hidden_layers):
        for target in TARGETS[layer % 2 :]:
            rows, columns = matrix_shape(config, target)
            down = torch.randn(rank, columns, generator=random) * columns**-0.5
            pairs[layer, target] = down, torch.randn(rows, rank, generator=random) * 0.2
    return Adapter(f"random {seed}", rank, 0.5, pairs)
