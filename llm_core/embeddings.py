"""Sentence embeddings on this machine, as a LangChain `Embeddings`.

    from llm_core import LocalEmbeddings
    vector = LocalEmbeddings().embed_query("Where was the blue carbuncle hidden?")

The recipe is that of sentence-transformers: the mean of the token vectors, or the first one
where the model says so, brought to length one. Torch and the weights are loaded on first use.
"""

import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from llm_core import loading
from llm_core.catalogue import EMBEDDINGS
from llm_core.errors import ModelError, ModelFileError
from llm_core.fairlock import FairLock
from llm_core.jsonfile import read_json
from llm_core.settings import load_settings
from llm_core.tokenization.text import whole_characters

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding, Tokenizer
    from torch import Tensor

    from llm_core.models.encoder import Attend, Encoder

MAX_TOKENS = 256  # a text, with its two special tokens, where the model names no other limit
_SURROGATE = re.compile("[\ud800-\udfff]")
_SETTINGS = ("model", "cache_dir", "threads", "batch_tokens", "dtype", "deterministic")
Pooling = Literal["mean", "cls"]
Floats = NDArray[np.float32]


class LocalEmbeddings(Embeddings):
    """A BERT or RoBERTa sentence encoder as LangChain embeddings; safe to share between threads.

    Texts are cut at the length the model was trained on, 256 tokens for the default one. Texts
    of like length are computed together, at most `batch_tokens` tokens at a time; with
    `deterministic` every text is computed alone, so that its vector never depends on its
    neighbours, to the last bit. `dtype` "auto" is bfloat16 where the processor multiplies such
    numbers, float32 elsewhere. `threads` is how many threads torch takes for a caller; None
    leaves that to torch. Callers take turns at batches, so a query never waits for a whole
    collection. A server that forks makes its embeddings in each worker, or uses one
    thread.
    """

    def __init__(
        self,
        model: str = EMBEDDINGS,
        *,
        cache_dir: Path | None = None,
        threads: int | None = None,
        batch_tokens: int = 2048,
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        deterministic: bool = False,
    ) -> None:
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, not {batch_tokens}")
        if dtype not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"dtype must be auto, float32 or bfloat16, not {dtype!r}")
        self.model = model
        self.cache_dir = cache_dir
        self.threads = threads
        self.batch_tokens = batch_tokens
        self.dtype = dtype
        self.deterministic = deterministic
        self._loading = threading.Lock()
        self._turns = FairLock()
        self._process = os.getpid()
        self._folder: Path | None = None
        self._loaded: tuple[Encoder, Tokenizer] | None = None
        self._pooling: Pooling = "mean"

    def __getstate__(self) -> dict[str, Any]:
        """The settings, for pickle and copies; weights and locks are made anew."""
        return {name: getattr(self, name) for name in _SETTINGS}

    def __setstate__(self, settings: dict[str, Any]) -> None:
        self.__init__(**settings)  # type: ignore[misc]  # the way to make the locks anew

    @property
    def dimension(self) -> int:
        """The length of a vector; reads the configuration only."""
        from llm_core.models.encoder import EncoderConfig

        folder = self._find()
        return EncoderConfig.read(read_json(folder / "config.json"), folder).hidden_size

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
        """Embed texts as one array (N, D) of rows of length one.

        Half a surrogate pair counts as U+FFFD. Raises ModelFileError for a folder that holds
        no encoder, ModelError in a process forked after the first use, but with one thread.
        """
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        encoder, tokenizer = self._load()
        vectors = np.empty((len(texts), encoder.config.hidden_size), dtype=np.float32)
        encodings = tokenizer.encode_batch([whole_characters(text) for text in texts])
        for rows in self._batches(encodings):
            ids = [encodings[row].ids for row in rows]
            with self._turns:
                vectors[rows] = _pool(self._forward(encoder, ids), ids, self._pooling)
        return vectors

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of the tokens of a text of any length, without special tokens."""
        encoding = self._load()[1].encode(_SURROGATE.sub("\ufffd", text))
        return [
            span
            for window in (encoding, *encoding.overflowing)
            for span, special in zip(window.offsets, window.special_tokens_mask, strict=True)
            if not special
        ]

    def tokens_and_vectors(self, text: str) -> tuple[NDArray[np.int64], Floats]:
        """Embed each token in its context: character offsets (T, 2), unit vectors (T, D).

        Special tokens are left out. A text that is longer than the model takes is computed
        in windows, so that every token has a vector.
        """
        return self._token_vectors([text], alone=True)[0]

    def many_tokens_and_vectors(
        self, texts: Sequence[str]
    ) -> list[tuple[NDArray[np.int64], Floats]]:
        """`tokens_and_vectors` of each text, windows of like length computed together.

        As with sentence vectors, the last bits depend on what is computed together unless the
        embeddings are `deterministic`.
        """
        return self._token_vectors(texts, alone=False) if texts else []

    def _token_vectors(
        self, texts: Sequence[str], *, alone: bool
    ) -> list[tuple[NDArray[np.int64], Floats]]:
        from torch.nn.functional import normalize

        encoder, tokenizer = self._load()
        clean = [_SURROGATE.sub("\ufffd", text) for text in texts]  # the offsets stay
        encodings = tokenizer.encode_batch(clean)
        windows = [(at, w) for at, e in enumerate(encodings) for w in (e, *e.overflowing)]
        batches = self._batches([window for _, window in windows])
        vectors: dict[int, Floats] = {}  # by row of `windows`
        for rows in [[row] for row in range(len(windows))] if alone else batches:
            ids = [windows[row][1].ids for row in rows]
            with self._turns:
                states = self._forward(encoder, ids)
                unit = normalize(states.float(), dim=-1).numpy()
            ends = np.cumsum([len(one) for one in ids])
            for row, part in zip(rows, np.split(unit, ends[:-1]), strict=True):
                vectors[row] = part[np.array(windows[row][1].special_tokens_mask) == 0]
        offsets: list[list[NDArray[np.int64]]] = [[] for _ in texts]
        found: list[list[Floats]] = [[] for _ in texts]
        for row, (at, window) in enumerate(windows):
            own = np.array(window.special_tokens_mask) == 0
            offsets[at].append(np.array(window.offsets, dtype=np.int64)[own])
            found[at].append(vectors[row])
        return [
            (np.concatenate(one), np.concatenate(other))
            for one, other in zip(offsets, found, strict=True)
        ]

    def _batches(self, encodings: "list[Encoding]") -> Iterator[list[int]]:
        """Group row numbers by length, longest first, within the token budget."""
        lengths = [len(encoding.ids) for encoding in encodings]
        batch: list[int] = []
        taken = 0  # tokens
        for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
            full = taken + lengths[row] > self.batch_tokens
            if batch and (full or self.deterministic):
                yield batch
                batch, taken = [], 0
            batch.append(row)
            taken += lengths[row]
        yield batch

    def _find(self) -> Path:
        if self._folder is None:
            self._folder = loading.resolve(self.model, self.cache_dir, "embeddings")
        return self._folder

    def _load(self) -> "tuple[Encoder, Tokenizer]":
        """Return encoder and tokenizer, loading them once."""
        if self._loaded is not None and self._process != os.getpid() and self._thread_count() > 1:
            raise ModelError(
                "these embeddings were used before this process was forked, and torch's threads "
                "do not survive that: make LocalEmbeddings in the worker, or with threads=1"
            )
        with self._loading:
            if self._loaded is None:
                self._process = os.getpid()
                self._loaded = self._open(self._find())
            return self._loaded

    def _thread_count(self) -> int:
        import torch

        return torch.get_num_threads() if self.threads is None else self.threads

    def _open(self, folder: Path) -> "tuple[Encoder, Tokenizer]":
        from llm_core.models.encoder_weights import load_encoder

        self._pooling = _read_pooling(folder)
        dtype = _number_format(self.dtype)
        encoder = load_encoder(folder, dtype)
        encoder.attention = self._attention(dtype) or encoder.attention
        tokenizer = _read_tokenizer(folder, encoder.config.vocab_size)
        tokenizer.enable_truncation(min(_read_limit(folder), encoder.config.window))
        return encoder, tokenizer

    def _forward(self, encoder: "Encoder", texts: list[list[int]]) -> "Tensor":
        """Encode texts of token ids to states (N, C), one text behind the other."""
        import torch

        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)  # torch keeps this number for each Python thread
        ids = torch.tensor([token for text in texts for token in text])
        with torch.inference_mode():
            states: Tensor = encoder(ids, [len(text) for text in texts])
        return states

    def _attention(self, dtype: "torch.dtype") -> "Attend | None":
        """The compiled attention where it can run, None where torch's own is to be used."""
        import torch

        from llm_core.models.fused import open_fused

        settings = load_settings()
        if settings.kernel == "off" or dtype != torch.bfloat16:
            return None
        cache_dir = settings.cache_dir if self.cache_dir is None else self.cache_dir
        return open_fused(cache_dir, lambda line: print(line, file=sys.stderr))


def _number_format(name: str) -> "torch.dtype":
    import torch

    if name == "auto":
        name = "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def _read_tokenizer(folder: Path, vocabulary: int) -> "Tokenizer":
    """The tokenizer of a folder; raises `ModelFileError` where it is not that of the weights."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for a damaged document
        raise ModelFileError(f"{path} cannot be read as a tokenizer: {error}") from error
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= vocabulary:
        raise ModelFileError(
            f"{path} has a token {largest}, but the weights know {vocabulary} tokens only; "
            "copy the whole model folder again"
        )
    if not tokenizer.encode("").ids:
        raise ModelFileError(
            f"{path} puts no special token around a text, which a sentence encoder needs"
        )
    tokenizer.no_padding()
    return tokenizer


def _read_pooling(folder: Path) -> Pooling:
    """How the folder says a text's vector is made; raises `ModelFileError` for other ways."""
    modules = _read_object(folder / "modules.json")
    for module in modules if isinstance(modules, list) else []:
        kind = str(module.get("type") if isinstance(module, dict) else module).rsplit(".")[-1]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise ModelFileError(
                f"{folder} has a module {kind!r} behind its encoder, not known here"
            )
    pooling = _read_object(folder / "1_Pooling" / "config.json") or {"pooling_mode": "mean"}
    asked = pooling.get("pooling_mode") if isinstance(pooling, dict) else None
    modes = [str(mode) for mode in (asked if isinstance(asked, list) else [asked]) if mode]
    if isinstance(pooling, dict) and not modes:
        modes = [
            key.removeprefix("pooling_mode_") for key, value in pooling.items() if value is True
        ]
    known: dict[str, Pooling] = {
        "mean": "mean",
        "mean_tokens": "mean",
        "cls": "cls",
        "cls_token": "cls",
    }
    chosen = [mode for mode in modes if mode != "include_prompt"]
    if len(chosen) != 1 or chosen[0] not in known:
        raise ModelFileError(
            f"{folder} pools by {' and '.join(chosen) or 'nothing'}; "
            "known are the mean and the first token"
        )
    return known[chosen[0]]


def _read_limit(folder: Path) -> int:
    """The most tokens a text may have, by the model's own account."""
    said = _read_object(folder / "sentence_bert_config.json")
    limit = said.get("max_seq_length") if isinstance(said, dict) else None
    return limit if isinstance(limit, int) and limit > 2 else MAX_TOKENS


def _read_object(path: Path) -> Any:
    """The contents of a JSON file, None where there is no such file."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is not valid JSON ({error}); copy it again") from error


def _pool(states: "Tensor", texts: list[list[int]], pooling: Pooling) -> Floats:
    """Return one vector of unit length a text, (B, C)."""
    from torch.nn.functional import normalize

    from llm_core.models.encoder import first_pool, mean_pool

    pool = mean_pool if pooling == "mean" else first_pool
    pooled: Floats = normalize(pool(states, [len(text) for text in texts]), dim=-1).numpy()
    return pooled
