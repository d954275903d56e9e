"""A chain that asks a server first, and the local model where no server answers.

python examples/with_fallbacks.py ["Who stole the carbuncle?"]

Needs langchain-openai: pip install -e '.[openai]'
"""

import sys
from collections.abc import Sequence
from typing import Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from llm_core import LocalChatModel

FACT = "James Ryder stole the blue carbuncle and hid it in the crop of a goose."
ABSENT = "http://127.0.0.1:9/v1"  # nothing listens there


def build_chain(base_url: str) -> Runnable[dict[str, str], str]:
    """From the fields of the prompt to the text of the answer."""
    prompt = ChatPromptTemplate.from_template("{fact}\n\n{question} Answer in one sentence.")
    served = ChatOpenAI(
        model="any", base_url=base_url, api_key=SecretStr("none"), max_retries=0, timeout=5
    )
    model = served.with_fallbacks([LocalChatModel(max_tokens=40)])
    return prompt | model | RunnableLambda(name_the_writer) | StrOutputParser()


def name_the_writer(message: Any) -> Any:
    """Print which model wrote a message, and pass it on."""
    print(f"answered by {message.response_metadata['model_name']}")
    return message


def main(arguments: Sequence[str]) -> int:
    """Ask, although the server is not there."""
    question = arguments[0] if arguments else "Who stole the carbuncle?"
    print(build_chain(ABSENT).invoke({"fact": FACT, "question": question}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
