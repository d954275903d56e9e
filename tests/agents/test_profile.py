"""Models in this process get the small path, services the richer one."""

import pytest

from agents.profile import LARGE, SMALL, Profile, profile_for
from llm_core.chat_model import LocalChatModel
from tests.fakes import ScriptedChat


class Named(ScriptedChat):
    provider: str

    @property
    def _llm_type(self) -> str:
        return self.provider


@pytest.mark.parametrize(
    ("provider", "profile"),
    [("deerstalker", SMALL), ("huggingface-chat-wrapper", SMALL), ("openai-chat", LARGE)],
)
def test_the_profile_follows_the_provider(provider: str, profile: Profile) -> None:
    assert profile_for(Named(provider=provider)) is profile


def test_the_local_model_is_small() -> None:
    assert profile_for(LocalChatModel()) is SMALL


def test_a_larger_model_is_trusted_with_more() -> None:
    assert LARGE.model_plans and not SMALL.model_plans
    assert LARGE.evidence_shown > SMALL.evidence_shown
