"""A backend over transformers' own decoders: one sequence a pass, a dense mask for branches."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from llm_core.backend import KVCache, Rows
from llm_core.errors import ModelError
from llm_core.weights import load_causal_lm

if TYPE_CHECKING:
    from llm_core.adapters import Adapter


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers' hook
    """One layer's keys and values, (1, kv_heads, capacity, head_dim), written in place."""

    def __init__(self, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers is untyped here
        self._capacity = capacity
        self._room: tuple[Tensor, Tensor] | None = None
        self.length = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        end = self.length + key_states.shape[2]
        if self._room is None:
            shape = (1, key_states.shape[1], self._capacity, key_states.shape[3])
            self._room = key_states.new_empty(shape), key_states.new_empty(shape)
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, self.length : end] = new
        self.truncate(end)
        keys, values = self._room
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.length

    def truncate(self, length: int) -> None:
        self.length = length
        if self._room is not None:
            keys, values = self._room
            self.keys, self.values = keys[:, :, :length], values[:, :, :length]
            self.is_initialized = True


class InterimCache(Cache):
    """The cache of one token sequence."""

    def __init__(self, depth: int, capacity: int) -> None:
        self._own = [_Layer(capacity) for _ in range(depth)]
        super().__init__(layers=list(self._own))
        self.capacity = capacity

    @property
    def length(self) -> int:
        return self._own[0].length

    def truncate(self, length: int) -> None:
        for layer in self._own:
            layer.truncate(min(length, layer.length))

    def read(self, start: int, end: int) -> Any:
        return [
            (x.keys[:, :, start:end].clone(), x.values[:, :, start:end].clone()) for x in self._own
        ]

    def write(self, block: Any, tokens: int) -> None:
        for layer, (keys, values) in zip(self._own, block, strict=True):
            layer.update(keys[:, :, :tokens], values[:, :, :tokens])


class InterimBackend:
    """Llama and whatever else transformers loads with full attention in every layer."""

    invariant = False
    chunk = 256

    def __init__(self, folder: Path, dtype: str) -> None:
        dtype = "bfloat16" if dtype == "auto" else dtype
        self._model = load_causal_lm(folder, dtype)
        config = self._model.config
        self.name = f"transformers {dtype}"
        self.vocabulary: int = config.vocab_size
        self.window: int = config.max_position_embeddings
        heads = config.num_key_value_heads
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        size = 2 if dtype == "bfloat16" else 4
        self.column_bytes: int = config.num_hidden_layers * 2 * heads * width * size

    def new_cache(self, capacity: int) -> KVCache:
        cache: Any = InterimCache(self._model.config.num_hidden_layers, capacity)
        return cache  # type: ignore[no-any-return]  # length is a property of it

    def forward(
        self,
        rows: Rows,
        caches: Sequence[KVCache],
        reads: Sequence[int],
        adapter: "Adapter | None",
        threads: int | None,
    ) -> Tensor:
        if adapter is not None:
            raise ModelError(f"{self.name} does not run adapters")
        if threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        out = torch.empty(len(reads), self.vocabulary)
        with torch.inference_mode():
            for slot in sorted(set(rows.slots)):
                mine = [i for i, s in enumerate(rows.slots) if s == slot]
                hidden = self._slot(rows, mine, caches[slot])  # (T of this slot, H)
                wanted = [(n, mine.index(row)) for n, row in enumerate(reads) if row in mine]
                if wanted:
                    logits = self._model.lm_head(hidden[[place for _, place in wanted]])
                    out[[n for n, _ in wanted]] = logits.float()
        return out

    def _slot(self, rows: Rows, mine: list[int], cache: Any) -> Tensor:
        first = rows.columns[mine[0]]
        cache.truncate(first)
        end = rows.columns[mine[-1]] + 1
        simple = all(rows.starts[i] <= rows.prefixes[i] for i in mine)
        mask = None
        if not simple:
            columns = torch.arange(end)  # (S,)
            prefix, start, own = (
                torch.tensor([source[i] for i in mine])[:, None]
                for source in (rows.prefixes, rows.starts, rows.columns)
            )
            mask = ((columns < prefix) | ((columns >= start) & (columns <= own)))[None, None]
        hidden: Tensor = self._model.model(
            input_ids=torch.tensor([[rows.tokens[i] for i in mine]]),
            position_ids=torch.tensor([[rows.positions[i] for i in mine]]),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[0]
        return hidden
