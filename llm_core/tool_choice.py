"""Whether to call a tool, and which one, by likelihood rather than by generation.

Which: the tool whose description makes the request most likely (the noisy channel). A small
model judges that far better than it writes the right name.

Whether: under a prompt that offers the tools and allows a plain answer, how likely the reply
is to begin a call, against a fixed threshold. What a model calls "likely" is not comparable
with what is right, so the threshold is calibrated, not one half.
"""

from collections.abc import Sequence
from typing import Protocol

from llm_core.prompt import ChatTemplate, Turn
from llm_core.tokenizer import TextTokenizer
from llm_core.toolcalls import ToolSpec, offer_turns

OPENING = '{"'
# Sum of log-probability of OPENING, in nats.
CALL_THRESHOLD = -7.0
# With an embedding model: standardised cosine (request, tool) is added to the standardised
# log-probability. Centre and spread of each, and the threshold of the sum.
OPENING_SCALE = (-5.0, 2.5)
COSINE_SCALE = (0.35, 0.17)
SUM_THRESHOLD = 0.0


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


def pick_tool(
    request: str, tools: Sequence[ToolSpec], score: Scorer, tokenizer: TextTokenizer
) -> ToolSpec:
    """The tool whose description best predicts the request."""
    if len(tools) == 1:
        return tools[0]
    wanted = tokenizer.encode(" " + request.strip(), marks=False)
    sequences = []
    for tool in tools:
        context = tokenizer.encode(f"Function: {tool.summary()}\nRequest:", marks=False)
        sequences.append((context + wanted, len(wanted)))
    scores = score(sequences)
    return tools[scores.index(max(scores))]


def wants_call(
    turns: Sequence[Turn],
    request: str,
    tools: Sequence[ToolSpec],
    score: Scorer,
    template: ChatTemplate,
    tokenizer: TextTokenizer,
    embeddings: Embedder | None = None,
) -> bool:
    """Whether a tool should be called now rather than an answer given."""
    opening = tokenizer.encode(OPENING)
    prompt = template.encode(offer_turns(turns, tools))
    likely = score([(prompt + opening, len(opening))])[0]
    if embeddings is None:
        return likely > CALL_THRESHOLD
    close = _closeness(request, tools, embeddings)
    total = _standard(likely, OPENING_SCALE) + _standard(close, COSINE_SCALE)
    return total > SUM_THRESHOLD


def _closeness(request: str, tools: Sequence[ToolSpec], embeddings: Embedder) -> float:
    """The best cosine between the request and a tool."""
    query, *others = embeddings.embed_documents([request, *(tool.summary() for tool in tools)])
    return max(_cosine(query, other) for other in others)


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    size = (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
    return dot / size if size else 0.0


def _standard(value: float, scale: tuple[float, float]) -> float:
    centre, spread = scale
    return (value - centre) / spread
