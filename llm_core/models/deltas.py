"""An adapter laid out for the decoder's fused matrices, once for all passes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llm_core.adapters import Adapter, matrix_shape
from llm_core.models.config import DecoderConfig
from llm_core.models.decoder import BlockDeltas
from llm_core.models.linear import Delta


def block_deltas(
    adapter: Adapter, config: DecoderConfig, dtype: torch.dtype, device: torch.device
) -> list[BlockDeltas]:
    """The changes of every block; raises ModelFileError where the adapter does not fit."""
    adapter.check_fits(config)

    def fused(layer: int, targets: Sequence[str]) -> Delta | None:
        pairs = [adapter.pairs.get((layer, target)) for target in targets]
        held = [pair for pair in pairs if pair is not None]
        if not held:
            return None
        sizes = [matrix_shape(config, target)[0] for target in targets]
        down = torch.cat([pair[0] for pair in held])  # (n rank, in)
        up = torch.zeros(sum(sizes), down.shape[0])  # each part reads its own rank columns
        row = column = 0
        for size, pair in zip(sizes, pairs, strict=True):
            if pair is not None:
                up[row : row + size, column : column + adapter.rank] = adapter.scale * pair[1]
                column += adapter.rank
            row += size
        return Delta(_moved(down, dtype, device), _moved(up, dtype, device))

    return [
        BlockDeltas(
            qkv=fused(layer, ("q_proj", "k_proj", "v_proj")),
            out=fused(layer, ("o_proj",)),
            gate_up=fused(layer, ("gate_proj", "up_proj")),
            down=fused(layer, ("down_proj",)),
        )
        for layer in range(config.num_hidden_layers)
    ]


def _moved(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    return tensor.to(device=device, dtype=dtype)
