"""Token ids in, token ids out: prefill, constrained decoding, and scoring of continuations.

The engine knows neither text nor LangChain. One lock guards the model, taken per forward
pass, so parallel callers take turns and a slow reader of a stream never blocks the others.
"""

import threading
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from llm_core.cache import PrefixStore, TokenCache, common_prefix
from llm_core.constrain import Guide
from llm_core.decode import Bias, Decoder, Step
from llm_core.errors import ContextBudgetError, ModelError
from llm_core.packing import Branch, groups, pack
from llm_core.sampling import Sampler, Sampling
from llm_core.tokenizer import TextTokenizer
from llm_core.weights import load_causal_lm

_CHUNK = 256  # tokens a prefill step takes
_GRID = 128  # in deterministic mode prefill steps start and end on multiples of this
_FIXED_THREADS = 1  # in deterministic mode: sums are rounded by how work is split
_PACK = 512  # tokens of branches scored in one forward pass


class GenerationCancelledError(ModelError):
    """The caller asked to stop before the reply was complete."""


class Engine:
    """One model in memory; safe to use from several threads.

    `threads` None leaves torch's own choice, except that deterministic calls always use a
    fixed number. Raises ModelFileError when the folder cannot be loaded.
    """

    def __init__(
        self, model_dir: Path, dtype: str = "bfloat16", threads: int | None = None
    ) -> None:
        self._model = load_causal_lm(model_dir, dtype)
        config = self._model.config
        self.vocabulary: int = config.vocab_size
        self.window: int = config.max_position_embeddings
        self.tokenizer = TextTokenizer(model_dir, self.vocabulary)
        self._depth: int = config.num_hidden_layers
        self._threads = threads
        self._lock = threading.Lock()
        self._stores = {False: PrefixStore(), True: PrefixStore()}

    def generate(
        self,
        prompt_ids: Sequence[int],
        *,
        max_tokens: int,
        sampling: Sampling,
        stop_ids: Collection[int],
        guide: Guide | None = None,
        logits_bias: Bias | None = None,
        cancel: threading.Event | None = None,
        deterministic: bool = False,
    ) -> Generator[Step, None, str]:
        """Yield the tokens of one reply; returns "stop" or "length".

        `deterministic` promises the same tokens whether or not the prompt's beginning was
        still in memory. Raises ContextBudgetError when prompt and reply do not fit the
        window, GenerationCancelledError within one token of `cancel` being set.
        """
        self.check_budget(len(prompt_ids), max_tokens)
        run = _Run(self, deterministic, cancel)
        try:
            logits = run.prefill(prompt_ids)
            decoder = Decoder(Sampler(sampling), stop_ids, max_tokens, guide, logits_bias)
            return (yield from decoder.run(run.step, logits))
        finally:
            run.keep()

    def score(
        self,
        prompt_ids: Sequence[int],
        continuations: Sequence[Sequence[int]],
        *,
        deterministic: bool = False,
    ) -> list[float]:
        """Summed log-probabilities of each continuation after the prompt, computed once."""
        prompt = list(prompt_ids)
        return self.score_sequences(
            [([*prompt, *tail], len(tail)) for tail in continuations], deterministic=deterministic
        )

    def score_sequences(
        self,
        sequences: Sequence[tuple[list[int], int]],
        *,
        deterministic: bool = False,
        cancel: threading.Event | None = None,
    ) -> list[float]:
        """For each (tokens, n): the summed log-probabilities of the last n tokens.

        What all sequences begin with is computed once, and kept for the next call.
        """
        if not sequences:
            return []
        for tokens, scored in sequences:
            if not 0 < scored < len(tokens):
                raise ValueError(f"cannot score {scored} of {len(tokens)} tokens")
            self.check_budget(len(tokens), 0)
        shared = min(common_prefix(sequences[0][0], tokens) for tokens, _ in sequences)
        shared = min(shared, *(len(tokens) - scored - 1 for tokens, scored in sequences))
        branches = [Branch(tokens[shared:], scored) for tokens, scored in sequences]
        run = _Run(self, deterministic, cancel)
        try:
            if shared:
                run.prefill(sequences[0][0][:shared])
            return [score for part in groups(branches, _PACK) for score in run.score(part)]
        finally:
            run.keep()

    def check_budget(self, prompt: int, reply: int, window: int | None = None) -> None:
        """Raise ContextBudgetError unless a prompt and a reply of these sizes fit.

        `window` asks for less than the whole of the model's own.
        """
        limit = min(self.window, window or self.window)
        if not prompt or prompt + reply > limit:
            raise ContextBudgetError(
                f"the prompt has {prompt} tokens and the reply may take {reply}, but the model's "
                f"window is {limit}: shorten the prompt or lower max_tokens"
            )

    def forget(self) -> None:
        """Drop every kept prompt."""
        with self._lock:
            for store in self._stores.values():
                store.clear()

    @contextmanager
    def claim(self, deterministic: bool) -> Iterator[None]:
        """Hold the model for one forward pass, with the thread count that the mode asks for."""
        threads = self._threads or (_FIXED_THREADS if deterministic else None)
        with self._lock, torch.inference_mode():
            if threads is not None and torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            yield


class _Run:
    """The state of one call: its cache, and the forward passes over it."""

    def __init__(self, engine: Engine, deterministic: bool, cancel: threading.Event | None) -> None:
        self._engine = engine
        self._deterministic = deterministic
        self._cancel = cancel
        self._cache = TokenCache(engine._depth)

    def prefill(self, tokens: Sequence[int]) -> Tensor:
        """Read a prompt, reusing what is kept of it; logits (V,) after its last token."""
        grid = _GRID if self._deterministic else None
        store = self._engine._stores[self._deterministic]
        with self._engine._lock:
            found = store.match(tokens[:-1], grid)
        self._cache = found or self._cache
        logits = torch.empty(0)
        at = len(self._cache.tokens)
        while at < len(tokens):
            end = min(at // _GRID * _GRID + _GRID if grid else at + _CHUNK, len(tokens))
            logits = self.step(tokens[at:end])
            at = end
        self._cache.aligned = len(tokens) // _GRID * _GRID if grid else 0
        return logits

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append tokens; logits (V,) in float32 after the last of them."""
        self._check_cancel()
        with self._engine.claim(self._deterministic):
            out = self._engine._model(
                input_ids=torch.tensor([list(tokens)]),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits: Tensor = out.logits[0, -1].float()
        self._cache.tokens += tokens
        return logits

    def score(self, branches: list[Branch]) -> list[float]:
        """Summed log-probabilities of the scored ends of `branches` after the cache."""
        self._check_cancel()
        prefix = len(self._cache.tokens)
        row = pack(branches, prefix)
        model = self._engine._model
        with self._engine.claim(self._deterministic):
            hidden = model.model(
                input_ids=row.tokens,
                position_ids=row.positions,
                attention_mask=row.mask,
                past_key_values=self._cache,
                use_cache=True,
            ).last_hidden_state[0]
            self._cache.truncate(prefix)
            logits = model.lm_head(hidden[row.reads]).float()  # (R, V)
            gained = logits.gather(1, row.targets[:, None])[:, 0] - logits.logsumexp(1)
        return [float(part.sum()) for part in gained.split(row.counts)]

    def keep(self) -> None:
        """Hand the cache to the engine for later prompts, cut to its last whole step."""
        self._cache.truncate(len(self._cache.tokens))
        if self._cache.tokens:
            with self._engine._lock:
                self._engine._stores[self._deterministic].keep(self._cache)

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise GenerationCancelledError("the reply was cancelled before it was complete")


@lru_cache(maxsize=2)
def _open(model_dir: Path, dtype: str, threads: int | None) -> Engine:
    return Engine(model_dir, dtype, threads)


_opening = threading.Lock()


def open_engine(model_dir: Path, dtype: str = "bfloat16", threads: int | None = None) -> Engine:
    """The engine of a folder, shared by all who ask for the same one (the last two stay)."""
    with _opening:
        return _open(model_dir.resolve(), dtype, threads)
