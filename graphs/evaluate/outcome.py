"""How a measurement that keeps its vectors ends: its exit code, and one line where it failed."""

import sys
from collections.abc import Callable

from graphs.errors import EXPECTED_ERRORS
from graphs.stopping import EXIT_STOPPED


def exit_code(measure: Callable[[], None]) -> int:
    """Measure and report: 0 done, 2 something to mend (one line on stderr), 130 Ctrl-C."""
    try:
        measure()
    except EXPECTED_ERRORS as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the vectors are kept: the same command goes on faster", file=sys.stderr)
        return EXIT_STOPPED
    return 0
