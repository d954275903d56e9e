"""Real text for measurements that every installation has: the help topics of Python itself."""

from collections.abc import Sequence
from pathlib import Path

from llm_core.errors import ModelError


def help_text() -> str:
    """About 450,000 characters of English prose and code, the same for one Python release."""
    from pydoc_data import topics

    return "\n\n".join(text for _, text in sorted(topics.topics.items()))


def read_text(path: Path) -> str:
    """A UTF-8 text file; raises ModelError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"cannot read {path} as UTF-8 text ({error}); give another file"
        ) from error


def paragraphs(text: str, count: int, least: int = 150) -> list[str]:
    """The first `count` paragraphs of at least `least` characters, each on one line.

    Raises ModelError where the text holds fewer.
    """
    joined = (" ".join(part.split()) for part in text.replace("\r\n", "\n").split("\n\n"))
    found = [part for part in joined if len(part) >= least]
    if len(found) < count:
        raise ModelError(
            f"the text has {len(found)} paragraphs of {least} characters, {count} are wanted; "
            "give a longer text or ask for fewer"
        )
    return found[:count]


class Prompts:
    """Prompts cut from one long run of token ids; no two begin alike until the text is used up."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = list(ids)
        self._at = 0

    def next(self, length: int) -> list[int]:
        """The next `length` ids; raises ModelError where the text has fewer in all."""
        if length > len(self._ids):
            raise ModelError(
                f"a prompt of {length} tokens is longer than the text ({len(self._ids)} tokens)"
            )
        if self._at + length > len(self._ids):
            self._at = 0
        self._at += length
        return self._ids[self._at - length : self._at]
