"""A conversation with the local model, printed as it is written.

python examples/stream_chat.py ["What is a goose?" ...]
"""

import sys
from collections.abc import Sequence

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage

from llm_core import LocalChatModel

QUESTIONS = ("What is the capital of France?", "Which river runs through it?")


def main(questions: Sequence[str]) -> int:
    """Ask one question after the other in one conversation."""
    model = LocalChatModel(max_tokens=60)
    conversation: list[BaseMessage] = [SystemMessage("You answer in one short sentence.")]
    for question in questions or QUESTIONS:
        print(f"> {question}")
        conversation.append(HumanMessage(question))
        reply = AIMessageChunk(content="")
        for chunk in model.stream(conversation):
            print(chunk.text, end="", flush=True)
            reply += chunk
        conversation.append(reply)
        usage, reason = reply.usage_metadata, reply.response_metadata["finish_reason"]
        assert usage is not None  # it comes with the last chunk
        print(
            f"\n  [{usage['input_tokens']} tokens read, {usage['output_tokens']} written, {reason}]"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
