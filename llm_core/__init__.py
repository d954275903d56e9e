"""Models on this machine: find, load, decode under constraints, and serve them to LangChain.

The two classes most people want are `LocalChatModel` and `LocalEmbeddings`. They are
resolved on first use, so importing this package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_core.chat_model import LocalChatModel
    from llm_core.embeddings import LocalEmbeddings

__all__ = ["LocalChatModel", "LocalEmbeddings"]


def __getattr__(name: str) -> Any:
    if name == "LocalChatModel":
        from llm_core.chat_model import LocalChatModel

        return LocalChatModel
    if name == "LocalEmbeddings":
        from llm_core.embeddings import LocalEmbeddings

        return LocalEmbeddings
    raise AttributeError(f"module 'llm_core' has no attribute {name!r}")
