"""Which tokens a guide allows: asked for one token, or unpacked for all of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Allowed = NDArray[np.bool_]


class Mask:
    """The tokens that may come next; good until the guide takes one.

    Most tokens that a model wants are allowed, and to check one costs a tenth of what it costs
    to compute all of them, so these are computed on demand. `matcher` is llguidance's;
    `forbidden` (V,) are tokens that are not to be taken where any other may be.
    """

    __slots__ = ("_allowed", "_forbidden", "_matcher", "_size")

    def __init__(self, matcher: Any, size: int, forbidden: Allowed | None = None) -> None:
        self._matcher = matcher
        self._size = size
        self._forbidden = forbidden
        self._allowed: Allowed | None = None

    def allows(self, token: int) -> bool:
        """Whether one token may come next."""
        if self._allowed is None:
            if not self._matcher.validate_tokens([token]):
                return False
            if self._forbidden is None or not self._forbidden[token]:
                return True
        return bool(self.array()[token])

    def array(self) -> Allowed:
        """Whether each token may come next, (V,)."""
        if self._allowed is None:
            allowed = unpacked(self._matcher.compute_bitmask(), self._size)
            if self._forbidden is not None:
                rest = allowed & ~self._forbidden
                allowed = rest if rest.any() else allowed
            self._allowed = allowed
        return self._allowed


def unpacked(bits: bytes, size: int) -> Allowed:
    """The first `size` bits of a mask, (size,)."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=size, bitorder="little").view(bool)
