"""LangGraph graphs, their state and wiring, and the commands that run them."""

from importlib.util import find_spec
from pathlib import Path


def _check_agents() -> None:
    """Raise ImportError where another distribution's `agents` shadows or overwrote ours."""
    spec = find_spec("agents")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    ours = folder is not None and all((folder / name).is_file() for name in _OURS)
    if not ours or folder is None or (folder / _OPENAI_AGENTS).exists():
        raise ImportError(
            f"Deerstalker needs its own package 'agents' but found {folder or 'none'}. The package"
            " openai-agents installs the same name: keep the two in separate environments."
        )


_OURS = ("notes.py", "result.py")
_OPENAI_AGENTS = "guardrail.py"  # a file of openai-agents that ours does not have

_check_agents()
