"""Sentence embeddings on this machine, as a LangChain `Embeddings`.

    from llm_core import LocalEmbeddings
    vector = LocalEmbeddings().embed_query("Where was the blue carbuncle hidden?")

The recipe is that of sentence-transformers: the mean of the token vectors, brought to
length one. Torch and the weights are loaded on first use.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from llm_core import loading
from llm_core.catalogue import EMBEDDINGS
from llm_core.errors import ModelFileError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from torch import Tensor

    from llm_core.bert import BertEncoder

MAX_TOKENS = 256  # a text, with its two special tokens; what the model was trained on
Floats = NDArray[np.float32]


class LocalEmbeddings(Embeddings):
    """A BERT sentence encoder as LangChain embeddings; safe to share between threads.

    Texts are cut at 256 tokens, as the model was trained. Texts of like length are computed
    together, at most `batch_tokens` tokens at a time; with `deterministic` every text is
    computed alone, so that its vector never depends on its neighbours, to the last bit.
    `threads` sets how many threads torch uses in this process.
    """

    def __init__(
        self,
        model: str = EMBEDDINGS,
        *,
        cache_dir: Path | None = None,
        threads: int | None = None,
        batch_tokens: int = 2048,
        dtype: Literal["float32", "bfloat16"] = "float32",
        deterministic: bool = False,
    ) -> None:
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, not {batch_tokens}")
        if dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype must be float32 or bfloat16, not {dtype!r}")
        self.model = model
        self.cache_dir = cache_dir
        self.threads = threads
        self.batch_tokens = batch_tokens
        self.dtype = dtype
        self.deterministic = deterministic
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._loaded: tuple[BertEncoder, Tokenizer] | None = None

    @property
    def dimension(self) -> int:
        """The length of a vector; reads the configuration only."""
        raw = json.loads((self._find() / "config.json").read_text(encoding="utf-8"))
        return int(raw["hidden_size"])

    @property
    def model_hash(self) -> str:
        """The SHA-256 that stands for these weights in manifests."""
        return loading.model_hash(self._find())

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts, one vector each, in their order."""
        return [[float(x) for x in row] for row in self.embed_array(texts)]

    def embed_query(self, text: str) -> list[float]:
        """Embed one text, as `embed_documents` does."""
        return self.embed_documents([text])[0]

    def embed_array(self, texts: Sequence[str]) -> Floats:
        """Embed texts as one array (N, D) of rows of length one."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return vectors
        with self._lock:
            encoder, tokenizer = self._load()
            encodings = tokenizer.encode_batch(list(texts))
            for rows in self._batches(encodings):
                states, mask = _forward(encoder, [encodings[row].ids for row in rows])
                vectors[rows] = _pool(states, mask)
        return vectors

    def tokens_and_vectors(self, text: str) -> tuple[NDArray[np.int64], Floats]:
        """Embed each token in its context: character offsets (T, 2), unit vectors (T, D).

        Special tokens are left out. A text of more than 256 tokens is computed in
        windows, so that every token has a vector.
        """
        from torch.nn.functional import normalize

        offsets: list[NDArray[np.int64]] = []
        vectors: list[Floats] = []
        with self._lock:
            encoder, tokenizer = self._load()
            encoding = tokenizer.encode(text)
            for window in (encoding, *encoding.overflowing):
                own = np.array(window.special_tokens_mask) == 0
                states, _ = _forward(encoder, [window.ids])
                unit = normalize(states[0].float(), dim=-1).numpy()
                offsets.append(np.array(window.offsets, dtype=np.int64)[own])
                vectors.append(unit[own])
        return np.concatenate(offsets), np.concatenate(vectors)

    def _batches(self, encodings: "list[Encoding]") -> Iterator[list[int]]:
        """Group row numbers by length, longest first, within the token budget."""
        lengths = [len(encoding.ids) for encoding in encodings]
        batch: list[int] = []
        for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
            full = batch and (len(batch) + 1) * lengths[batch[0]] > self.batch_tokens
            if batch and (full or self.deterministic):
                yield batch
                batch = []
            batch.append(row)
        yield batch

    def _find(self) -> Path:
        if self._folder is None:
            self._folder = loading.resolve(self.model, self.cache_dir, "embeddings")
        return self._folder

    def _load(self) -> "tuple[BertEncoder, Tokenizer]":
        """Return encoder and tokenizer, loading them once; the caller holds the lock."""
        if self._loaded is None:
            import torch
            from tokenizers import Tokenizer

            from llm_core.bert import BertConfig, load_bert

            folder = self._find()
            _require_mean_pooling(folder)
            raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            config = BertConfig.read(raw, folder)
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.no_padding()
            tokenizer.enable_truncation(min(MAX_TOKENS, config.max_position_embeddings))
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            self._loaded = load_bert(folder, config, getattr(torch, self.dtype)), tokenizer
        return self._loaded


def _require_mean_pooling(folder: Path) -> None:
    file = folder / "1_Pooling" / "config.json"
    if file.is_file() and not json.loads(file.read_text()).get("pooling_mode_mean_tokens"):
        raise ModelFileError(f"{folder} does not pool by the mean, the only way known here")


def _forward(encoder: "BertEncoder", rows: list[list[int]]) -> "tuple[Tensor, Tensor]":
    """Encode rows of token ids: states (B, T, C) and the mask (B, T) of real tokens."""
    import torch

    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = True
    with torch.inference_mode():
        return encoder(ids, None if mask.all() else mask), mask


def _pool(states: "Tensor", mask: "Tensor") -> Floats:
    """Return the mean over the real tokens, at unit length: (B, C)."""
    from torch.nn.functional import normalize

    kept = states.float() * mask[..., None]
    means = kept.sum(dim=1) / mask.sum(dim=1, keepdim=True)
    pooled: Floats = normalize(means, dim=-1).numpy()
    return pooled
