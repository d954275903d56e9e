"""Notice that a reply has begun to repeat itself, which small greedy models do until the end."""

import numpy as np

_LONGEST = 64  # tokens of the longest phrase that is looked for
_ROUNDS, _LEAST = 4, 48  # times it must have been written, and tokens that takes at least


class LoopGuard:
    """Sees the tokens of one reply; says when its end is one phrase over and over."""

    def __init__(self) -> None:
        self._periods = np.arange(1, _LONGEST + 1)
        self._needed = np.maximum(_LEAST, _ROUNDS * self._periods) - self._periods
        self._last = np.full(_LONGEST, -1, dtype=np.int64)  # newest first
        self._runs = np.zeros(_LONGEST, dtype=np.int64)

    def note(self, token: int) -> bool:
        """Take the next token; True where the reply has become a loop.

        `_runs[p - 1]` counts the tokens in a row that equal the one p places before them.
        """
        self._runs = np.where(self._last == token, self._runs + 1, 0)
        self._last[1:] = self._last[:-1].copy()
        self._last[0] = token
        return bool((self._runs >= self._needed).any())
