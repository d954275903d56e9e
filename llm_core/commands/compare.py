"""`generate --compare`: five ways of choosing tokens, one column each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from llm_core.commands.replies import Token, Writer, Written
from llm_core.sampling import Sampling

_PIECE = 11  # characters of a token that a column shows


def compare(writer: Writer, sampling: Sampling, beams: int) -> list[Written]:
    """Greedy, temperature, top-k, top-p and beam search on one prompt.

    `sampling` and `beams` give the numbers, with usual ones where they say "off". Each way of
    drawing has draws of its own, else one seed would often give three times the same reply.
    """
    heat = sampling.temperature or 0.8
    plain = replace(sampling, temperature=heat, top_k=0, top_p=1.0, min_p=0.0)
    top_k = sampling.top_k or 40
    top_p = sampling.top_p if sampling.top_p < 1 else 0.9
    width = beams if beams > 1 else 4
    return [
        writer.write("greedy", replace(plain, temperature=0.0)),
        writer.write(f"temperature {heat:g}", plain),
        writer.write(f"top-k {top_k}", replace(plain, top_k=top_k, seed=_after(plain.seed, 1))),
        writer.write(f"top-p {top_p:g}", replace(plain, top_p=top_p, seed=_after(plain.seed, 2))),
        *writer.search(f"beam {width}", width),
    ]


def _after(seed: int | None, count: int) -> int | None:
    return None if seed is None else seed + count


def compared(replies: Sequence[Written]) -> Iterator[str]:
    """Lines: a column of tokens and probabilities for each reply, then their texts."""
    wide = _PIECE + 8
    yield ("     " + "".join(reply.method.ljust(wide) for reply in replies)).rstrip()
    for number, row in enumerate(zip_longest(*(reply.tokens for reply in replies)), start=1):
        yield f"{number:3d}  {''.join(_cell(token).ljust(wide) for token in row)}".rstrip()
    for reply in replies:
        yield ""
        yield (
            f"{reply.method}: {len(reply.tokens)} tokens, log-probability {reply.logprob:.2f},"
            f" ended by {reply.finish}"
        )
        yield reply.text.strip()


def _cell(token: Token | None) -> str:
    if token is None:
        return ""
    shown = token.text.replace("\n", "⏎").replace("\t", "⇥")
    if len(shown) > _PIECE:
        shown = shown[: _PIECE - 1] + "…"
    return f"{shown:<{_PIECE}} {math.exp(token.logprob):5.1%}"
