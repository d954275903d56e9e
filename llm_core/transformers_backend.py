"""Any other decoder, run by transformers behind the same interface.

Only what every architecture does is asked for: the next tokens of one sequence, behind a
cache. Several sequences, and branches behind a prefix, are therefore run one after another.
"""

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from llm_core.backend import KVCache, Rows
from llm_core.errors import ModelError, ModelFileError
from llm_core.models.encoder import KINDS as ENCODERS
from llm_core.torch_backend import DTYPES, pick_device

if TYPE_CHECKING:
    from llm_core.adapters import Adapter

_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention", "attention"}
_CHANGING = {"dynamic", "longrope"}  # rotations that depend on the length of the whole text


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers' hook
    """One layer's keys and values, (1, kv_heads, capacity, head_dim), written in place."""

    def __init__(self, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers is untyped here
        self._capacity = capacity
        self._room: tuple[Tensor, Tensor] | None = None
        self.length = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append columns (1, kv_heads, T, head_dim); returns all of them."""
        end = self.length + key_states.shape[2]
        if self._room is None:
            self._room = self._make_room(key_states), self._make_room(value_states)
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, self.length : end] = new
        self.truncate(end)
        keys, values = self._room
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self) -> int:
        """Number of tokens held."""
        return self.length

    def truncate(self, length: int) -> None:
        """Forget every column from `length` on; the room stays."""
        self.length = length
        if self._room is not None:
            keys, values = self._room
            self.keys, self.values = keys[:, :, :length], values[:, :, :length]
            self.is_initialized = True

    def _make_room(self, states: Tensor) -> Tensor:
        _, heads, _, width = states.shape
        return states.new_empty(1, heads, self._capacity, width)


class TransformersCache(Cache):
    """The cache of one token sequence."""

    def __init__(self, depth: int, capacity: int) -> None:
        self._own = [GrowingLayer(capacity) for _ in range(depth)]
        super().__init__(layers=list(self._own))
        self.capacity = capacity

    @property
    def length(self) -> int:
        """Columns that are valid."""
        return self._own[0].length

    def truncate(self, length: int) -> None:
        """Keep the first `length` columns; the room stays."""
        for layer in self._own:
            layer.truncate(min(length, layer.length))

    def read(self, start: int, end: int) -> list[tuple[Tensor, Tensor]]:
        """A copy of the columns [start, end), layer by layer."""
        return [(k[:, :, start:end].clone(), v[:, :, start:end].clone()) for k, v in self._sides()]

    def write(self, block: list[tuple[Tensor, Tensor]], tokens: int) -> None:
        """Append the first `tokens` columns of a block that `read` gave."""
        for layer, (keys, values) in zip(self._own, block, strict=True):
            layer.update(keys[:, :, :tokens], values[:, :, :tokens])

    def column_bytes(self) -> int | None:
        """Bytes of one column, or None where some layer holds none yet."""
        if not all(layer.length for layer in self._own):
            return None
        ones = [side[0, :, 0] for sides in self._sides() for side in sides]
        return sum(one.numel() * one.element_size() for one in ones)

    def _sides(self) -> list[tuple[Tensor, Tensor]]:
        sides: list[Any] = [(layer.keys, layer.values) for layer in self._own]
        return sides


class TransformersBackend:
    """One causal language model of transformers; see `llm_core.backend.Backend`."""

    chunk = 256
    invariant = False

    def __init__(self, model: Any, name: str, source: Path) -> None:
        config = model.config.get_text_config()
        self._model = model
        self._depth: int = config.num_hidden_layers
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._threads = torch.get_num_threads()
        self.name = name
        self.vocabulary: int = config.vocab_size
        window = getattr(config, "max_position_embeddings", None)
        if not isinstance(window, int):
            raise ModelFileError(f"{source} does not say how long a text may be; use hf:NAME")
        self.window = window
        trial = TransformersCache(self._depth, 1)
        with torch.inference_mode():
            self._append(trial, [0], [0])
        column_bytes = trial.column_bytes()
        if column_bytes is None or trial.length != 1:
            raise ModelFileError(
                f"{source} is a {config.model_type!r} model, which does not keep what it read in "
                "a cache of keys and values; load it as hf:NAME"
            )
        self.column_bytes = column_bytes

    def new_cache(self, capacity: int) -> KVCache:
        """An empty cache with room for `capacity` tokens."""
        cache: Any = TransformersCache(self._depth, capacity)
        return cache  # type: ignore[no-any-return]  # its length is a property

    def forward(
        self,
        rows: Rows,
        caches: Sequence[KVCache],
        reads: Sequence[int],
        adapter: "Adapter | None",
        threads: int | None,
    ) -> Tensor:
        """See `Backend.forward`; branches leave the cache with the last of them alone."""
        if adapter is not None:
            raise ModelError(
                f"{self.name} does not run adapters: use a Llama, Mistral or Qwen model"
            )
        wanted = threads or self._threads
        if torch.get_num_threads() != wanted:  # torch keeps this number for each Python thread
            torch.set_num_threads(wanted)
        out = torch.empty(len(reads), self.vocabulary)
        with torch.inference_mode():
            for run in _runs(rows):
                cache = caches[rows.slots[run[0]]]
                assert isinstance(cache, TransformersCache), "a cache of another backend"
                cache.truncate(rows.positions[run[0]])
                read = [(index, run.index(row)) for index, row in enumerate(reads) if row in run]
                tokens = rows.tokens[run.start : run.stop]
                logits = self._append(cache, tokens, [place for _, place in read])
                out[[index for index, _ in read]] = logits.float().cpu()
        return out

    def _append(self, cache: TransformersCache, tokens: list[int], reads: list[int]) -> Tensor:
        """Logits (R, V) of the rows in `reads` of these next tokens."""
        device = self._model.device
        places = torch.tensor(reads, dtype=torch.long, device=device)
        keep = {"logits_to_keep": places if reads else 1} if self._keeps else {}
        logits: Tensor = self._model(
            input_ids=torch.tensor([tokens], device=device),
            past_key_values=cache,
            use_cache=True,
            **keep,
        ).logits[0]
        if not reads:
            return logits[:0]
        return logits if self._keeps else logits[places]


def _runs(rows: Rows) -> Iterator[range]:
    """Rows that follow each other in one sequence: where a run ends, another one starts."""
    first = 0
    for row in range(1, len(rows.tokens) + 1):
        if (
            row == len(rows.tokens)
            or rows.slots[row] != rows.slots[row - 1]
            or rows.positions[row] != rows.positions[row - 1] + 1
            or rows.columns[row] != rows.columns[row - 1] + 1
            or max(rows.starts[row], rows.prefixes[row])
            != max(rows.starts[first], rows.prefixes[first])
        ):
            yield range(first, row)
            first = row


def open_transformers_backend(
    folder: Path, dtype: str = "bfloat16", device: str = "cpu"
) -> TransformersBackend:
    """Load a model folder through transformers, whatever its architecture.

    Raises ModelFileError for missing or damaged files and for architectures whose state
    cannot be cut back to a prefix (recurrent layers, rotations that follow the length).
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is unknown: use one of {', '.join(DTYPES)}")
    _check_config(folder)
    place = pick_device(device)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as err:
        reason = str(err).strip().split("\n", 1)[0]
        raise ModelFileError(f"{folder} cannot be loaded: {reason}") from err
    model, found = loaded
    if missing := sorted(found["missing_keys"]):  # transformers would make them up
        raise ModelFileError(
            f"{folder} lacks {len(missing)} weights, such as {missing[0]}; copy the whole folder"
        )
    where = "" if place.type == "cpu" else f" {place.type}"
    model = model.train(False).requires_grad_(False).to(place)
    return TransformersBackend(model, f"transformers {dtype}{where}", folder)


def _check_config(folder: Path) -> None:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).get_text_config()
    except (OSError, ValueError) as err:
        reason = str(err).strip().split("\n", 1)[0]
        raise ModelFileError(f"{folder / 'config.json'} cannot be used: {reason}") from err
    if config.model_type in ENCODERS and not config.is_decoder:
        raise ModelFileError(
            f"{folder} is a {config.model_type!r} model, which reads text and writes none; "
            "use it for embeddings, and a chat model here"
        )
    other = set(getattr(config, "layer_types", None) or []) - _ATTENTION
    if other:
        raise ModelFileError(
            f"{folder} is a {config.model_type!r} model with {', '.join(sorted(other))} layers, "
            "whose state cannot be cut back to a prefix; load it as hf:NAME"
        )
    rope = getattr(config, "rope_parameters", None) or {}
    parts = [part for part in (rope, *rope.values()) if isinstance(part, dict)]
    kinds = {str(part.get("rope_type")) for part in parts}
    if kinds & _CHANGING:
        raise ModelFileError(
            f"{folder} turns positions by {', '.join(sorted(kinds & _CHANGING))} scaling, which "
            "changes with the length of the text, so no prefix can be kept; load it as hf:NAME"
        )
