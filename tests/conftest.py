"""Fixtures for the whole suite: the two default models, loaded once a session.

They come from the user cache, which `python -m graphs.doctor --fetch` fills; a test that
asks for one of them fails with that command where it is missing.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llm_core import LocalChatModel, LocalEmbeddings


@pytest.fixture(scope="session")
def embeddings() -> "LocalEmbeddings":
    from llm_core import LocalEmbeddings

    return LocalEmbeddings()


@pytest.fixture(scope="session")
def chat_model() -> "LocalChatModel":
    from llm_core import LocalChatModel

    return LocalChatModel()
