"""An event that ends one call, beside one that may end many."""

import threading


class Cancel(threading.Event):
    """Set by itself or by `other`, an event that may belong to other calls too.

    Only `is_set` looks at both: nobody waits for it.
    """

    def __init__(self, other: threading.Event | None) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """Whether the call is to end."""
        return super().is_set() or (self._other is not None and self._other.is_set())
