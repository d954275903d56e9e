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


@runtime_checkable
class ExtractsSpans(Protocol):
    """A model that can be held to reply with words standing in a text."""

    def extract(
        self,
        prompt: LanguageModelInput,
        text: str,
        prefix: str = "",
        max_tokens: int = 24,
        **kwargs: Any,
    ) -> str:
        """The contiguous run of words of `text` that the model replies with."""
