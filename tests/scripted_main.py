"""The real command with a scripted team, for tests that start, kill and resume processes.

python -m tests.scripted_main '{"delay": 0.1, "log": "steps.log"}' "question" --state FILE
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

from graphs.budget import CallMeter
from graphs.cli import main
from graphs.console import Console
from graphs.wiring import ResearchOptions, Wired
from tests.fakes import ScriptedTeam


def scripted_wire(script: dict[str, Any]) -> Any:
    """A `Wire` whose team follows `script`, the fields of `ScriptedTeam`.

    `manifest` replaces the parts named in the manifest; `wired` collects the options.
    """
    fields = {**script, "log": Path(script["log"])} if "log" in script else script
    manifest = fields.pop("manifest", {"model": "scripted", "index": "1"})
    wired = fields.pop("wired", [])

    def wire(
        options: ResearchOptions,
        *,
        console: Console | None,
        meter: CallMeter,
        cancel: threading.Event | None,
    ) -> Wired:
        wired.append(options)
        return Wired(ScriptedTeam(**fields), manifest)

    return wire


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], wire=scripted_wire(json.loads(sys.argv[1]))))
