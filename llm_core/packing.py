"""Several token sequences in one forward pass: the branches of a score, replies side by side.

Branches stand one after another in the columns behind their shared prefix. Each row sees that
prefix and the earlier rows of its own branch, and positions restart behind the prefix.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from llm_core.backend import Rows


@dataclass(frozen=True)
class Branch:
    """Tokens after the shared prefix; the last `scored` of them are to be predicted.

    Where all are to be predicted, the prefix predicts the first.
    """

    tokens: list[int]
    scored: int

    def __post_init__(self) -> None:
        if not 0 < self.scored <= len(self.tokens):
            raise ValueError(f"cannot score {self.scored} of {len(self.tokens)} tokens")

    @property
    def rows(self) -> int:
        """Tokens that go through the model: the last one predicts nothing."""
        return len(self.tokens) - 1


@dataclass
class Pass:
    """One forward pass: its rows, the rows to read, and what each of these should predict.

    reads, targets and owners have one entry a prediction; owners names the branch.
    """

    rows: Rows = field(default_factory=lambda: Rows([], [], [], [], [], []))
    reads: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)


def passes(
    branches: Sequence[tuple[int, Branch]], prefix: int, most_rows: int, most_reads: int
) -> Iterator[Pass]:
    """Lay out numbered branches behind `prefix` columns, cut into passes of bounded size.

    A long branch may be spread over several passes: later rows see the columns that the
    earlier passes wrote.
    """
    part, column = Pass(), prefix
    for number, branch in branches:
        start = column
        for place in range(branch.rows):
            if len(part.rows.tokens) == most_rows or len(part.reads) == most_reads:
                yield part
                part = Pass()
            if place + 1 >= len(branch.tokens) - branch.scored:
                part.reads.append(len(part.rows.tokens))
                part.targets.append(branch.tokens[place + 1])
                part.owners.append(number)
            _append(part.rows, branch.tokens[place], prefix + place, 0, column, prefix, start)
            column += 1
    if part.rows.tokens:
        yield part


def groups(branches: Sequence[Branch], limit: int) -> Iterator[list[tuple[int, Branch]]]:
    """Runs of numbered branches of at most `limit` rows together; a longer one stands alone."""
    group: list[tuple[int, Branch]] = []
    held = 0
    for number, branch in enumerate(branches):
        if group and held + branch.rows > limit:
            yield group
            group, held = [], 0
        group.append((number, branch))
        held += branch.rows
    if group:
        yield group


def side_by_side(parts: Sequence[tuple[Sequence[int], int]]) -> tuple[Rows, list[int]]:
    """Rows for (next tokens, columns held) of several sequences, and the last row of each."""
    rows, reads = Rows([], [], [], [], [], []), []
    for slot, (tokens, at) in enumerate(parts):
        for place, token in enumerate(tokens, start=at):
            _append(rows, token, place, slot, place, 0, 0)
        reads.append(len(rows.tokens) - 1)
    return rows, reads


def joined(parts: Sequence[tuple[Rows, int, Sequence[int]]]) -> tuple[Rows, list[int]]:
    """One pass of several: (rows, number of caches, reads) of each, caches one after another."""
    if len(parts) == 1:
        return parts[0][0], list(parts[0][2])
    rows, reads, slots = Rows([], [], [], [], [], []), list[int](), 0
    for part, caches, wanted in parts:
        reads += [len(rows.tokens) + row for row in wanted]
        rows.tokens.extend(part.tokens)
        rows.positions.extend(part.positions)
        rows.slots.extend(slots + slot for slot in part.slots)
        rows.columns.extend(part.columns)
        rows.prefixes.extend(part.prefixes)
        rows.starts.extend(part.starts)
        slots += caches
    return rows, reads


def _append(
    rows: Rows, token: int, position: int, slot: int, column: int, prefix: int, start: int
) -> None:
    rows.tokens.append(token)
    rows.positions.append(position)
    rows.slots.append(slot)
    rows.columns.append(column)
    rows.prefixes.append(prefix)
    rows.starts.append(start)
