"""Token ids in, token ids out: prefill, constrained decoding, and scoring of continuations.

The engine knows neither text nor LangChain, and no architecture: a backend runs the model.
One lock guards that, fair and taken per forward pass, so parallel callers take turns and a
slow reader of a stream never blocks the others.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Generator, Hashable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from llm_core.backend import Backend, open_backend
from llm_core.batch import Batch, Reply
from llm_core.beam import BeamSearch, Hypothesis
from llm_core.cache import PrefixStore, PrefixUse, common_prefix
from llm_core.constrain import Guide
from llm_core.decode import Bias, Decoder, Step
from llm_core.errors import ContextBudgetError
from llm_core.loops import LoopGuard
from llm_core.packing import Branch, groups
from llm_core.run import GenerationCancelledError, Machine, Mode, Run
from llm_core.sampling import Sampler, Sampling, log_normaliser
from llm_core.settings import Settings, load_settings
from llm_core.threads import ThreadGovernor
from llm_core.tokenizer import TextTokenizer
from llm_core.turns import Turns

if TYPE_CHECKING:
    from llm_core.adapters import Adapter

__all__ = ["Engine", "GenerationCancelledError", "Hypothesis", "Reply", "Step", "open_engine"]

_ADAPTERS = 8  # kept in memory, the last used
_PACK = 512  # rows of branches that stand behind one prefix at a time


class Engine:
    """One model in memory; safe to use from several threads.

    `dtype` and the rest of `settings` choose the backend (see `open_backend`). `threads` None
    takes the free cores, one where the machine is busy. Raises ModelFileError when the folder
    cannot be loaded.
    """

    def __init__(
        self,
        model_dir: Path,
        dtype: str | None = None,
        threads: int | None = None,
        *,
        settings: Settings | None = None,
        backend: Backend | None = None,
    ) -> None:
        settings = load_settings() if settings is None else settings
        if dtype is not None:
            settings = settings.model_copy(update={"dtype": dtype})
        threads = threads or settings.threads
        # Made first: it measures what others do while the model is loaded.
        count = ThreadGovernor().count if threads is None else partial(int, threads)
        self.backend = open_backend(model_dir, settings) if backend is None else backend
        self.vocabulary: int = self.backend.vocabulary
        self.window: int = self.backend.window
        self.tokenizer = TextTokenizer(model_dir, self.vocabulary)
        self._store = PrefixStore(settings.prefix_mb << 20, self.backend.column_bytes)
        self._machine = Machine(self.backend, Turns(self.backend), self._store, count)
        self._reading = threading.Lock()
        self._adapters: OrderedDict[Path, tuple[Hashable, Adapter]] = OrderedDict()

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
        adapter: "Adapter | None" = None,
        logprobs: int | None = 0,
        guard_loops: bool = False,
        speculate: bool = True,
    ) -> Generator[Step, None, str]:
        """Yield the tokens of one reply; returns "stop", "length" or "repetition".

        `deterministic` promises the same tokens whether or not the prompt's beginning was
        still in memory. `logprobs` asks for that many best tokens at each place, and None
        for no log-probability at all, which is fastest; `guard_loops` ends a reply that
        repeats itself. `speculate` guesses tokens from earlier text where that cannot change
        any. Raises ContextBudgetError when prompt and reply do not fit the window,
        GenerationCancelledError within one token of `cancel`.
        """
        self.check_budget(len(prompt_ids), max_tokens)
        mode = Mode(adapter, deterministic, cancel)
        guess = speculate and self.backend.invariant
        run = Run(self._machine, mode, len(prompt_ids) + max_tokens, guess=guess)
        decoder = Decoder(
            Sampler(sampling, prompt_ids),
            stop_ids,
            max_tokens,
            guide,
            logits_bias,
            top=logprobs,
            loops=LoopGuard() if guard_loops else None,
        )
        return (yield from run.write(prompt_ids, decoder))

    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        sampling: Sampling | Sequence[Sampling],
        stop_ids: Collection[int],
        guides: Sequence[Guide | None] | None = None,
        adapter: "Adapter | None" = None,
        cancel: threading.Event | None = None,
        deterministic: bool = False,
        logprobs: int | None = 0,
        guard_loops: bool = False,
    ) -> list[Reply]:
        """Replies to several prompts, written side by side; in the order of the prompts.

        One `sampling` counts for each prompt as if it were alone, its seed too. On a backend
        that rounds by shape, `deterministic` writes one after another.
        """
        for prompt in prompts:
            self.check_budget(len(prompt), max_tokens)
        many = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
        limits = guides if guides is not None else [None] * len(prompts)
        mode = Mode(adapter, deterministic, cancel)
        batch = Batch(self._machine, mode, max_tokens)
        for prompt, how, guide in zip(prompts, many, limits, strict=True):
            loops = LoopGuard() if guard_loops else None
            decoder = Decoder(
                Sampler(how, prompt), stop_ids, max_tokens, guide, top=logprobs, loops=loops
            )
            batch.add(list(prompt), decoder)
        return batch.run()

    def beam_search(
        self,
        prompt_ids: Sequence[int],
        *,
        max_tokens: int,
        stop_ids: Collection[int],
        beams: int = 4,
        best: int = 1,
        length_penalty: float = 1.0,
        adapter: "Adapter | None" = None,
        cancel: threading.Event | None = None,
        deterministic: bool = False,
    ) -> list[Hypothesis]:
        """The `best` of the most probable replies that a search with `beams` beams finds.

        See `llm_core.beam` for scores and order. Raises as `generate` does.
        """
        self.check_budget(len(prompt_ids), max_tokens)
        if not 0 < best <= beams:
            raise ValueError(f"cannot return {best} of {beams} beams")
        search = BeamSearch(
            self._machine, Mode(adapter, deterministic, cancel), stop_ids, beams, length_penalty
        )
        return search.run(prompt_ids, max_tokens)[:best]

    def score(
        self,
        prompt_ids: Sequence[int],
        continuations: Sequence[Sequence[int]],
        *,
        deterministic: bool = False,
        adapter: "Adapter | None" = None,
    ) -> list[float]:
        """Summed log-probabilities of each continuation after the prompt, computed once."""
        prompt = list(prompt_ids)
        return self.score_sequences(
            [([*prompt, *tail], len(tail)) for tail in continuations],
            deterministic=deterministic,
            adapter=adapter,
        )

    def score_sequences(
        self,
        sequences: Sequence[tuple[list[int], int]],
        *,
        deterministic: bool = False,
        cancel: threading.Event | None = None,
        adapter: "Adapter | None" = None,
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
        first = sequences[0][0]
        shared = min(
            min(common_prefix(first, tokens), len(tokens) - scored) for tokens, scored in sequences
        )
        branches = [Branch(tokens[shared:], scored) for tokens, scored in sequences]
        packed = list(groups(branches, _PACK))
        room = max(sum(branch.rows for _, branch in group) for group in packed)
        run = Run(self._machine, Mode(adapter, deterministic, cancel), shared + room)
        sums = dict.fromkeys(range(len(branches)), 0.0)
        if shared:
            sums |= _first_tokens(run.prefill(first[:shared]), branches)
        for group in packed:
            for number, gained in run.score(group).items():
                sums[number] += gained
        return list(sums.values())

    def adapter(self, folder: str | Path | None) -> "Adapter | None":
        """The adapter of a folder, read again only when its files have changed; None for None.

        Raises ModelFileError for what is missing, damaged or of an unknown kind.
        """
        if folder is None:
            return None
        from llm_core.adapters import load_adapter

        path = Path(folder).expanduser().resolve()
        stamps = tuple(
            (file.name, file.stat().st_size, file.stat().st_mtime_ns)
            for file in sorted(path.glob("adapter_*"))
        )
        with self._reading:
            held = self._adapters.pop(path, None)
            if held is None or held[0] != stamps:
                held = stamps, load_adapter(path)
            self._adapters[path] = held
            while len(self._adapters) > _ADAPTERS:
                self._adapters.popitem(last=False)
        return held[1]

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

    @property
    def prefix_use(self) -> PrefixUse:
        """How much of the prompts was known from earlier ones, since the model was loaded."""
        return self._store.use

    def forget(self) -> None:
        """Drop every kept prompt."""
        self._store.clear()


def _first_tokens(logits: Tensor, branches: Sequence[Branch]) -> dict[int, float]:
    """Log-probability of the first token of each branch that is scored whole.

    `logits` (V,) are those after the shared prefix, which predicts these tokens.
    """
    values = logits.numpy()
    normaliser = log_normaliser(values)
    return {
        number: float(values[branch.tokens[0]]) - normaliser
        for number, branch in enumerate(branches)
        if branch.scored == len(branch.tokens)
    }


@lru_cache(maxsize=2)
def _open(model_dir: Path, threads: int | None, settings: Settings) -> Engine:
    return Engine(model_dir, threads=threads, settings=settings)


_opening = threading.Lock()


def open_engine(
    model_dir: Path,
    dtype: str | None = None,
    threads: int | None = None,
    settings: Settings | None = None,
) -> Engine:
    """The engine of a folder, shared by all who ask for the same one (the last two stay)."""
    settings = load_settings() if settings is None else settings
    if dtype is not None:
        settings = settings.model_copy(update={"dtype": dtype})
    with _opening:
        return _open(model_dir.resolve(), threads, settings)
