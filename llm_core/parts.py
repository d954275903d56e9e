"""What a reply is made of, as it is written: text, and calls of tools."""

from dataclasses import dataclass


@dataclass
class Usage:
    """Tokens read and written for one reply."""

    prompt: int = 0
    reply: int = 0


@dataclass(frozen=True)
class TokenLogprob:
    """One token's bytes and natural-log probability, with the most probable ones in its place."""

    piece: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True)
class TextPart:
    """A piece of the reply's text; `logprobs` of its tokens where they were asked for."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class CallPart:
    """A call of a tool begins; `index` counts the calls of one reply from 0."""

    index: int
    name: str


@dataclass(frozen=True)
class ArgumentsPart:
    """A piece of the JSON text of a call's arguments; the pieces of one call join to an object."""

    index: int
    text: str


Part = TextPart | CallPart | ArgumentsPart
