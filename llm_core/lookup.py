"""Guess the next tokens from earlier text: what followed the same few tokens last time.

Replies copy names, quotes and code from their prompts. A guess is checked in the same forward
pass as the token before it (prompt-lookup decoding, Saxena 2023), so a right one saves passes
and a wrong one costs a little of one; the tokens of the reply are the same either way.
"""

from collections.abc import Sequence

_SIZES = (4, 3, 2)  # tokens that must match, the longest match first
_LONGEST = 10  # tokens guessed at once
_FIRST = 4
_PRICE = 0.12  # what one guessed token adds to a pass, in passes
_REST = 24  # tokens without a guess after guesses did not pay
_MEMORY = 0.75  # weight of the past in the running averages


class Lookup:
    """Guesses for one reply; it learns how often its guesses are right, and rests if rarely."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}
        self._size = _FIRST
        self._right = 1.0
        self._made = 1.0
        self._resting = 0
        self.note(prompt)

    def note(self, tokens: Sequence[int]) -> None:
        """Take what was read or written next."""
        for token in tokens:
            self._tokens.append(token)
            end = len(self._tokens)
            # Filed under the tokens before it, so that a look-up never finds itself.
            for size in _SIZES:
                if end > size:
                    self._ends[tuple(self._tokens[end - 1 - size : end - 1])] = end - 1
        self._resting = max(0, self._resting - len(tokens))

    def draft(self, most: int) -> list[int]:
        """At most `most` tokens that may come next, perhaps none."""
        if self._resting:
            return []
        for size in _SIZES:
            at = self._ends.get(tuple(self._tokens[-size:]))
            if at is not None and len(self._tokens) >= size:
                return self._tokens[at : at + min(most, self._size)]
        return []

    def learn(self, guessed: int, right: int) -> None:
        """Note how many of the guessed tokens were right."""
        self._right = _MEMORY * self._right + (1 - _MEMORY) * right
        self._made = _MEMORY * self._made + (1 - _MEMORY) * guessed
        self._size = min(_LONGEST, self._size + 2) if right == guessed else max(2, right + 1)
        if self._right < _PRICE * self._made:
            self._resting = _REST
            self._right, self._made = 1.0, 1.0
