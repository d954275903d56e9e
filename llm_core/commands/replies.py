"""Replies to one prompt with every token's probability, for `generate`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llm_core.adapters import load_adapter
from llm_core.errors import ModelError
from llm_core.prompt import ChatTemplate, Turn
from llm_core.sampling import Sampling

if TYPE_CHECKING:
    from llm_core.decode import Step
    from llm_core.engine import Engine
    from llm_core.tokenizer import TextTokenizer

Show = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What is asked, apart from how tokens are chosen."""

    text: str
    system: str | None = None
    raw: bool = False
    max_tokens: int = 128
    adapter: Path | None = None
    deterministic: bool = False
    logprobs: int = 0
    speculate: bool = True


@dataclass(frozen=True)
class Token:
    """One token of a reply; `top` holds the most probable ones at its place."""

    id: int
    text: str
    logprob: float
    top: list[dict[str, Any]]


@dataclass(frozen=True)
class Written:
    """One reply; `first` and `rest` are the seconds to its first token and for the others."""

    method: str
    text: str
    finish: str
    tokens: list[Token]
    first: float
    rest: float

    @property
    def logprob(self) -> float:
        """Summed natural-log probability of the tokens."""
        return sum(token.logprob for token in self.tokens)

    def as_dict(self) -> dict[str, Any]:
        """The reply for JSON."""
        return {**asdict(self), "logprob": self.logprob}


class Writer:
    """Writes replies to one request."""

    def __init__(self, engine: "Engine", request: Request) -> None:
        tokenizer = engine.tokenizer
        if request.raw:
            self.prompt = tokenizer.encode(request.text, marks=False)
        else:
            system = [Turn("system", request.system)] if request.system else []
            turns = [*system, Turn("user", request.text)]
            self.prompt = ChatTemplate(tokenizer).encode(turns)
        if not self.prompt:
            raise ModelError("the prompt has no token; give some text")
        self._engine = engine
        self._request = request
        self._adapter = load_adapter(request.adapter) if request.adapter else None

    def write(self, method: str, sampling: Sampling, show: Show | None = None) -> Written:
        """One reply; `show` gets its text as it comes."""
        return self._write(method, sampling, show, None)

    def search(self, method: str, beams: int, best: int = 1) -> list[Written]:
        """The best replies of a beam search, best first."""
        engine = self._engine
        found = engine.beam_search(
            self.prompt,
            max_tokens=self._request.max_tokens,
            stop_ids=engine.tokenizer.end_ids,
            beams=beams,
            best=best,
            adapter=self._adapter,
            deterministic=self._request.deterministic,
        )
        names = [method, *(f"{method}, number {place}" for place in range(2, best + 1))]
        return [
            self._write(name, Sampling(), None, _Script(reply.tokens, reply.finish))
            for name, reply in zip(names, found, strict=False)
        ]

    def _write(
        self, method: str, sampling: Sampling, show: Show | None, script: "_Script | None"
    ) -> Written:
        engine, request = self._engine, self._request
        if script is not None and not script.tokens:
            return Written(method, "", script.finish, [], 0.0, 0.0)
        steps = engine.generate(
            self.prompt,
            max_tokens=request.max_tokens if script is None else len(script.tokens),
            sampling=sampling,
            stop_ids=engine.tokenizer.end_ids if script is None else (),
            logits_bias=script,
            deterministic=request.deterministic,
            adapter=self._adapter,
            logprobs=request.logprobs,
            speculate=request.speculate,
        )
        began, times = time.perf_counter(), list[float]()
        stream, pieces = engine.tokenizer.stream(), list[str]()
        made: list[Step] = []
        while True:
            try:
                made.append(next(steps))
            except StopIteration as end:
                finish = str(end.value) if script is None else script.finish
                break
            times.append(time.perf_counter() - began)
            pieces.append(stream.feed(made[-1].token))
            if show is not None:
                show(pieces[-1])
        tokens = [token_of(step, engine.tokenizer) for step in made]
        first, last = (times[0], times[-1]) if times else (0.0, 0.0)
        return Written(method, "".join(pieces), finish, tokens, first, last - first)


class _Script:
    """A bias that has given tokens written, so that each shows its probability."""

    def __init__(self, tokens: Sequence[int], finish: str) -> None:
        self.tokens = tokens
        self.finish = finish
        self._at = 0

    def gains(self) -> tuple[list[int], NDArray[np.float32]]:
        """The next token, above all others."""
        return [self.tokens[self._at]], np.array([np.inf], np.float32)

    def accept(self, token: int) -> None:  # noqa: ARG002 - it is the one that gains
        """Go on to the next token."""
        self._at += 1


def token_of(step: "Step", tokenizer: "TextTokenizer") -> Token:
    """A step with its texts."""
    top = [
        {"id": token, "text": tokenizer.decode([token]), "logprob": value}
        for token, value in step.top
    ]
    return Token(step.token, tokenizer.decode([step.token]), step.logprob, top)
