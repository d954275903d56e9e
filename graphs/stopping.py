"""Ctrl-C and SIGTERM: a run ends after the model step in flight, and can go on later."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_STOPPED = 130
_WAIT = b"stopping after this model step; once more to leave at once\n"


class StopSignal:
    """Sets `event` when the person stops the run.

    Outside of the graph it raises KeyboardInterrupt as well. Inside, an exception at a random
    place would tear LangGraph's threads from their checkpoints, so the steps see the event.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._raises = True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle the signals inside the block; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        watched = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._stop) for number in watched}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Inside the block a stop only sets the event."""
        self._raises = False
        try:
            yield
        finally:
            self._raises = True

    def _stop(self, *_: object) -> None:
        if self.event.is_set():
            os._exit(EXIT_STOPPED)
        self.event.set()
        if self._raises:
            raise KeyboardInterrupt
        os.write(2, _WAIT)
