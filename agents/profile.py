"""What a model of a certain size is trusted with; a larger model gets the richer path."""

from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel


@dataclass(frozen=True)
class Profile:
    """Which steps the model does itself, and how much it is shown."""

    name: str
    model_plans: bool  # splits the question; rules do it otherwise
    composes: bool  # writes sentences; evidence is quoted otherwise
    evidence_shown: int  # sentences in a writing prompt
    languages: frozenset[str] | None  # in which its words are worth having; None: all

    def speaks(self, language: str) -> bool:
        """Whether the model's own words in a language (ISO 639-1 code) are worth having."""
        return self.languages is None or language in self.languages


SMALL = Profile(
    "small", model_plans=False, composes=True, evidence_shown=1, languages=frozenset({"en"})
)
LARGE = Profile("large", model_plans=True, composes=True, evidence_shown=6, languages=None)
_SMALL_PROVIDERS = ("deerstalker", "huggingface-chat-wrapper")


def profile_for(model: BaseChatModel) -> Profile:
    """The profile of a model: models in this process count as small, services as large."""
    return SMALL if model._llm_type in _SMALL_PROVIDERS else LARGE
