"""A lock that its callers get in the order in which they asked for it."""

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """One holder at a time, as `threading.Lock`, but who asks again stands behind who waits.

    A long job that lets go between its parts so never keeps a short one waiting for more than
    one part.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._line: deque[threading.Lock] = deque()

    def waiting(self) -> int:
        """How many callers wait at this moment."""
        return len(self._line)

    def __enter__(self) -> None:
        turn = threading.Lock()
        turn.acquire()
        came = False
        try:
            with self._guard:
                came = True
                if not self._held:
                    self._held = True
                    return
                self._line.append(turn)
            turn.acquire()
        except BaseException:  # Ctrl-C: nobody may hand the lock to a caller who has left
            with self._guard:
                if turn in self._line:
                    self._line.remove(turn)
                elif came:
                    self._hand_over()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._guard:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._line:
            self._line.popleft().release()  # it stays held, by the next one
        else:
            self._held = False
