"""Several replies written side by side: one forward pass a token for all of them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from llm_core.decode import Decoder, Step
from llm_core.packing import side_by_side
from llm_core.run import Machine, Mode, Run, forward

_WIDTH = 16  # replies in one pass
_BYTES = 512 << 20  # of keys and values of these


@dataclass(frozen=True)
class Reply:
    """A whole reply, and why it ended: "stop", "length" or "repetition"."""

    steps: list[Step]
    finish: str

    @property
    def tokens(self) -> list[int]:
        """The token ids."""
        return [step.token for step in self.steps]


@dataclass
class _Member:
    prompt: list[int]
    decoder: Decoder
    steps: list[Step] = field(default_factory=list)


class Batch:
    """Replies of at most `max_tokens` tokens each; as one ends, the next one takes its place."""

    def __init__(self, machine: Machine, mode: Mode, max_tokens: int) -> None:
        self._machine = machine
        self._mode = mode
        self._max_tokens = max_tokens
        self._members: list[_Member] = []

    def add(self, prompt: Sequence[int], decoder: Decoder) -> None:
        """One more reply to write."""
        self._members.append(_Member(list(prompt), decoder))

    def run(self) -> list[Reply]:
        """Write all replies; in the order in which they were added."""
        waiting, live, width = deque(self._members), list[tuple[_Member, Run]](), self._width()
        while waiting or live:
            while waiting and len(live) < width:
                live.append(self._start(waiting.popleft()))
            live = [pair for pair in live if not _ended(*pair)]
            if live:
                self._step(live)
        return [Reply(m.steps, m.decoder.finish or "stop") for m in self._members]

    def _width(self) -> int:
        backend = self._machine.backend
        if self._mode.deterministic and not backend.invariant:
            return 1  # such a backend rounds by the shape of a pass
        longest = max((len(m.prompt) for m in self._members), default=0) + self._max_tokens
        return max(1, min(_WIDTH, _BYTES // (longest * backend.column_bytes)))

    def _start(self, member: _Member) -> tuple[_Member, Run]:
        run = Run(self._machine, self._mode, len(member.prompt) + self._max_tokens)
        logits = run.prefill(member.prompt)
        member.steps += member.decoder.begin()
        if member.decoder.finish is None and not member.decoder.waiting:
            member.steps += member.decoder.take(logits)
        return member, run

    def _step(self, live: list[tuple[_Member, Run]]) -> None:
        rows, reads = side_by_side(
            [(member.decoder.waiting, len(run.tokens)) for member, run in live]
        )
        logits = forward(self._machine, self._mode, rows, [run.cache for _, run in live], reads)
        for (member, run), after in zip(live, logits, strict=True):
            run.tokens += member.decoder.waiting
            member.steps += member.decoder.take(after)


def _ended(member: _Member, run: Run) -> bool:
    if member.decoder.finish is None:
        return False
    run.keep()
    return True
