"""Which tool a request wants, and whether it wants any: judged by likeness and likelihood.

Which: an embedding model ranks the tools by how close each one's line (name, purpose, names of
the parameters) is to the request, so that twenty tools cost no long prompt. Between tools
that are nearly as close, and where there is no embedding model, the chat model decides: the
tool whose line makes the request most likely wins (the noisy channel; a small model judges
that far better than it writes the right name).

Whether: a logistic score over signs, compared with a threshold. The signs are that closeness,
how much likelier the tool's line makes the request than no tool does, how likely a reply under
the tool's prompt is to begin a call, and how many of the numbers that the tool needs are not
there. `python -m llm_core fit-tools` fits the weights on labelled conversations.
"""

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llm_core.errors import ModelNotFoundError
from llm_core.prompt import ChatTemplate, Turn
from llm_core.prompt_format import NO_FUNCTION, SUMMARY
from llm_core.requests import numbers_lacking
from llm_core.tokenizer import TextTokenizer
from llm_core.tool_prompts import call_prompt, offer_prompt
from llm_core.toolcalls import ToolSpec

Floats = NDArray[np.float64]

SIGNS = ("closeness", "context", "gain", "opening", "lacking")
UNSEEN = SIGNS[2:]  # those that need no embedding model
WEIGHTS = Path(__file__).with_name("tool_choice.json")
NEARLY = 0.05  # of cosine: tools so close to the best are judged by likelihood too
MOST_JUDGED = 3
NAT = 0.02  # what one nat of likelihood counts, in cosine
_MOST_GAIN = 20.0  # nats; a long request must not outvote everything else
_READ = 1200  # characters of a request's end that are judged
_KEPT = 1024  # vectors of tools


class Scorer(Protocol):
    """Summed log-probabilities of the last n tokens of each (tokens, n)."""

    def __call__(self, sequences: Sequence[tuple[list[int], int]]) -> list[float]:
        """One number per sequence, in order."""
        ...


class Embedder(Protocol):
    """What is used of an embedding model."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text."""
        ...


@dataclass(frozen=True)
class Pick:
    """The best tool for a request; `closeness` is a cosine, None without embeddings."""

    tool: ToolSpec
    closeness: float | None


@dataclass(frozen=True)
class Signs:
    """What speaks for a call now.

    `closeness` is the tool's to the request and `context` that to all that the person said,
    both None where there are no embeddings.
    """

    closeness: float | None
    context: float | None
    gain: float  # nats, bounded
    opening: float  # nats
    lacking: float  # share of the needed numbers that the request does not hold

    def vector(self) -> list[float]:
        """The numbers in the order of SIGNS, without the first two where there are none."""
        rest = [self.gain, self.opening, self.lacking]
        if self.closeness is None or self.context is None:
            return rest
        return [self.closeness, self.context, *rest]


@dataclass(frozen=True)
class Weights:
    """A logistic model over signs: how much each counts, and from which score on to call."""

    weights: Mapping[str, float]
    bias: float
    threshold: float

    def score(self, signs: Signs) -> float:
        """The log-odds that a call is wanted."""
        names = SIGNS if signs.closeness is not None else UNSEEN
        pairs = zip(names, signs.vector(), strict=True)
        return self.bias + sum(self.weights[name] * value for name, value in pairs)


class LineVectors:
    """The vectors of the tools' lines that came last, for one embedder; safe to share.

    A tool comes again at every call of a conversation.
    """

    def __init__(self, most: int = _KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._embedder: Embedder | None = None
        self._kept: OrderedDict[str, Floats] = OrderedDict()

    def known(self, embedder: Embedder, lines: Sequence[str]) -> dict[str, Floats]:
        """The vectors that this very embedder has given these lines."""
        with self._lock:
            if embedder is not self._embedder:
                return {}
            found = {line: self._kept[line] for line in lines if line in self._kept}
            for line in found:
                self._kept.move_to_end(line)
            return found

    def keep(self, embedder: Embedder, vectors: Mapping[str, Floats]) -> None:
        """Keep vectors of an embedder, and those of another one no longer."""
        with self._lock:
            if embedder is not self._embedder:
                self._embedder = embedder
                self._kept.clear()
            self._kept |= vectors
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


class Chooser:
    """Chooses tools with a chat model's likelihoods and, where there is one, an embedder."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        template: ChatTemplate,
        score: Scorer,
        embedder: Embedder | None,
        kept: LineVectors | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._score = score
        self._embedder = embedder
        self._kept = kept or LineVectors()
        self._vectors: dict[str, Floats] = {}

    @property
    def sees_closeness(self) -> bool:
        """Whether there is an embedding model."""
        return self._embedder is not None

    def closeness(self, texts: Sequence[str], tools: Sequence[ToolSpec]) -> Floats:
        """Cosines (texts, tools) between texts and tools; there must be embeddings."""
        if self._embedder is None:
            raise ValueError("no closeness without an embedding model")
        lines = [tool.line() for tool in tools]
        self._vectors |= self._kept.known(self._embedder, lines)
        wanted = [text for text in dict.fromkeys([*texts, *lines]) if text not in self._vectors]
        if wanted:
            found = np.asarray(self._embedder.embed_documents(wanted), dtype=np.float64)
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
            self._vectors |= dict(zip(wanted, found, strict=True))
            new = [line for line in dict.fromkeys(lines) if line in wanted]
            self._kept.keep(self._embedder, {line: self._vectors[line] for line in new})
        left = np.stack([self._vectors[text] for text in texts])
        cosines: Floats = left @ np.stack([self._vectors[line] for line in lines]).T
        return cosines

    def pick(self, request: str, tools: Sequence[ToolSpec]) -> Pick:
        """The tool that a request wants most."""
        if self._embedder is None:
            alone = len(tools) == 1
            return Pick(tools[0 if alone else int(np.argmax(self._gains(request, tools)))], None)
        close = self.closeness([request], tools)
        order = np.argsort(-close[0], kind="stable")
        near = [int(i) for i in order[:MOST_JUDGED] if close[0, i] >= close[0].max() - NEARLY]
        best = near[0]
        if len(near) > 1:
            gains = self._gains(request, [tools[i] for i in near])
            best = near[int(np.argmax(close[0, near] + NAT * np.array(gains)))]
        return Pick(tools[best], float(close[0, best]))

    def signs(self, turns: Sequence[Turn], request: str, pick: Pick) -> Signs:
        """The signs that `request`, the last thing the person said, wants a call of the tool.

        How a reply would open is judged without what was said before, which would tell of
        other things: a call that was made or refused.
        """
        tool, context = pick.tool, None
        if pick.closeness is not None:
            spoken = [turn.text for turn in turns if turn.role == "user" and not turn.from_tool]
            context = float(self.closeness([" ".join(spoken)[-_READ:]], [tool])[0, 0])
        asked = [Turn("user", request)]
        prompt = offer_prompt(self._template, asked, [tool])
        call = call_prompt(self._template, self._tokenizer, asked, tool)
        gained, without = self._likelihoods(request, [tool.summary(), NO_FUNCTION])
        return Signs(
            closeness=pick.closeness,
            context=context,
            gain=max(-_MOST_GAIN, min(_MOST_GAIN, gained - without)),
            opening=self._score([(call[: len(prompt) + 1], 1)])[0],
            lacking=numbers_lacking(request, tool.parameters),
        )

    def _gains(self, request: str, tools: Sequence[ToolSpec]) -> list[float]:
        return self._likelihoods(request, [tool.summary() for tool in tools])

    def _likelihoods(self, request: str, summaries: Sequence[str]) -> list[float]:
        """The log-probability of the request after each line, in nats."""
        wanted = self._tokenizer.encode(" " + request.strip()[-_READ:], marks=False)
        heads = [
            self._tokenizer.encode(SUMMARY.format(summary=summary), marks=False)
            for summary in summaries
        ]
        return self._score([(head + wanted, len(wanted)) for head in heads])


@lru_cache(maxsize=4)
def load_weights(path: Path = WEIGHTS) -> dict[str, Weights]:
    """The fitted weights, "with" and "without" embeddings."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Weights(found[name]["weights"], found[name]["bias"], found[name]["threshold"])
        for name in ("with", "without")
    }


def wants_call(signs: Signs) -> bool:
    """Whether the signs speak for a call."""
    weights = load_weights()["without" if signs.closeness is None else "with"]
    return weights.score(signs) >= weights.threshold


def probability(signs: Signs) -> float:
    """The fitted probability that a call is wanted."""
    weights = load_weights()["without" if signs.closeness is None else "with"]
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, weights.score(signs)))))


def default_embedder(cache_dir: Path | None = None) -> Embedder | None:
    """The default embedding model where it is in the cache, shared; None where it is not."""
    from llm_core.settings import load_settings

    try:
        return _shared_embedder(cache_dir or load_settings().cache_dir)
    except ModelNotFoundError:
        return None


@lru_cache(maxsize=4)  # which keeps no error: a model that is fetched meanwhile is found
def _shared_embedder(cache_dir: Path) -> Embedder:
    from llm_core.embeddings import LocalEmbeddings

    embedder = LocalEmbeddings(cache_dir=cache_dir)
    embedder.dimension  # noqa: B018 (finds and checks the folder)
    return embedder


def embedder_name(embedder: Embedder | None) -> str:
    """What tells the vectors of one embedder from those of another: a hash, or its class and model.

    Weights without a manifest are read for it.
    """
    if embedder is None:
        return "no embeddings"
    if found := getattr(embedder, "model_hash", None):
        return str(found)
    kind = type(embedder)
    model = getattr(embedder, "model", getattr(embedder, "model_name", ""))
    return f"{kind.__module__}.{kind.__qualname__} {model}"
