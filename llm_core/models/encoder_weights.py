"""From the files of a BERT or RoBERTa model to an encoder that is ready to run."""

from pathlib import Path

import torch
from torch import Tensor

from llm_core.checkpoint import Checkpoint, open_checkpoint
from llm_core.errors import ModelFileError
from llm_core.models.encoder import Attend, Encoder, EncoderConfig, attend_padded
from llm_core.models.linear import Linear

_PREFIXES = ("", "bert.", "roberta.")
_OLD = {"weight": "gamma", "bias": "beta"}  # how norms were called in 2018
_EMBEDDINGS = {
    "tokens": "word_embeddings",
    "positions": "position_embeddings",
    "types": "token_type_embeddings",
}
_LAYER = {
    "out": "attention.output.dense",
    "up": "intermediate.dense",
    "down": "output.dense",
}
_NORMS = {"attention_norm": "attention.output.LayerNorm", "norm": "output.LayerNorm"}


def load_encoder(
    folder: Path, dtype: torch.dtype = torch.float32, attention: Attend = attend_padded
) -> Encoder:
    """The encoder of a model folder; raises `ModelFileError` for files that hold none."""
    checkpoint = open_checkpoint(folder)
    config = EncoderConfig.read(checkpoint.config, folder)
    names = _Names(checkpoint, folder)
    with torch.device("meta"):  # shapes alone: nothing is allocated on the word of a config
        encoder = Encoder(config, attention)
    try:
        weights = {ours: tensor.to(dtype) for ours, tensor in _weights(names, config).items()}
        encoder.load_state_dict(weights, assign=True)
    except RuntimeError as error:  # a shape that config.json does not promise
        first = str(error).strip().splitlines()[-1].strip()
        raise ModelFileError(f"{folder} does not fit its config.json: {first}") from error
    encoder.eval().requires_grad_(False)
    for part in encoder.modules():
        if isinstance(part, Linear):
            part.pack()
    return encoder


class _Names:
    """The tensors of a checkpoint by name, whatever prefix they were saved with."""

    def __init__(self, checkpoint: Checkpoint, folder: Path) -> None:
        self._checkpoint = checkpoint
        self._folder = folder
        probe = "embeddings.word_embeddings.weight"
        found = [prefix for prefix in _PREFIXES if prefix + probe in checkpoint.names]
        if not found:
            raise ModelFileError(f"{folder} does not hold the weights of a BERT: no {probe}")
        self._prefix = found[0]

    def __call__(self, name: str) -> Tensor:
        full = self._prefix + name
        if full not in self._checkpoint.names:
            stem, _, kind = full.rpartition(".")
            full = f"{stem}.{_OLD.get(kind, kind)}"
        if full not in self._checkpoint.names:
            raise ModelFileError(
                f"{self._folder} does not hold the weights of a BERT: no {self._prefix + name}"
            )
        return self._checkpoint.tensor(full)


def _weights(get: _Names, config: EncoderConfig) -> dict[str, Tensor]:
    """Map the published names to ours, with query, key and value fused."""
    weights = {
        f"embeddings.{ours}.weight": get(f"embeddings.{theirs}.weight")
        for ours, theirs in _EMBEDDINGS.items()
    }
    for kind in ("weight", "bias"):
        weights[f"embeddings.norm.{kind}"] = get(f"embeddings.LayerNorm.{kind}")
        for layer in range(config.num_hidden_layers):
            old, new = f"encoder.layer.{layer}", f"blocks.{layer}"
            for ours, theirs in {**_LAYER, **_NORMS}.items():
                weights[f"{new}.{ours}.{kind}"] = get(f"{old}.{theirs}.{kind}")
            parts = [get(f"{old}.attention.self.{p}.{kind}") for p in ("query", "key", "value")]
            weights[f"{new}.qkv.{kind}"] = torch.cat(parts)
    return weights
