"""What some chat models can do beyond LangChain's interface; agents use it where it is there."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from langchain_core.language_models import LanguageModelInput


@runtime_checkable
class ScoresReplies(Protocol):
    """A model that tells how likely given replies are."""

    def score(
        self, prompt: LanguageModelInput, continuations: Sequence[str], **kwargs: Any
    ) -> list[float]:
        """Summed natural-log probability of each continuation as the reply to `prompt`."""
