"""Text out of tokens as they come, though a character may be spread over several."""

from collections.abc import Callable, Sequence

_UNFINISHED = "\ufffd"


class TokenStream:
    """Gives the text that each token completes; an unfinished character waits for its rest.

    Decodes the last few tokens again with each new one, since the text of a token can depend
    on the one before it (a space, a joined word).
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._shown = 0  # how many of `_ids` the prefix is made of
        self._prefix = ""  # text of theirs that has been given already

    def feed(self, token: int) -> str:
        """The text that `token` completes, perhaps empty."""
        if not self._prefix and self._ids:
            text = self._decode(self._ids)
            if not text.endswith(_UNFINISHED):
                self._prefix, self._shown = text, len(self._ids)
        self._ids.append(token)
        text = self._decode(self._ids)
        if text.endswith(_UNFINISHED) or len(text) <= len(self._prefix):
            return ""
        new = text.removeprefix(self._prefix)
        shown = len(self._ids) - self._shown
        del self._ids[: self._shown]
        self._prefix, self._shown = self._decode(self._ids), shown
        return new
