"""The local model behind its own OpenAI-compatible server, asked through langchain-openai.

python examples/behind_a_server.py ["What is a goose?"]

Needs both extras: pip install -e '.[openai,server]'
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

SERVE = (sys.executable, "-m", "llm_core", "serve", "--port", "0", "--quiet")
NONE = SecretStr("none")  # the server asks for no token unless it is given one


@contextmanager
def serving() -> Iterator[str]:
    """Run the server in a process of its own; gives the URL that it prints when it is ready."""
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            if not url:
                raise SystemExit("the server could not start")
            yield url
        finally:
            server.terminate()  # it finishes what it is doing first


def weather(city: str) -> str:
    """Get the weather in a city."""
    return f"It is sunny in {city}."


def main(arguments: Sequence[str]) -> int:
    """Stream a reply, have a tool called, and embed a text, all through the server."""
    question = arguments[0] if arguments else "What is the capital of France?"
    with serving() as url:
        model = ChatOpenAI(model="smollm2-135m", base_url=url, api_key=NONE, temperature=0)
        messages = [("system", "You answer in one short sentence."), ("user", question)]
        for chunk in model.stream(messages, max_tokens=40):
            print(chunk.text, end="", flush=True)
        reply = model.bind_tools([weather]).invoke("How is the weather in London?")
        print("", *((call["name"], call["args"]) for call in reply.tool_calls), sep="\n")
        embeddings = OpenAIEmbeddings(
            model="minilm-l6",
            openai_api_base=url,
            openai_api_key=NONE,
            check_embedding_ctx_length=False,  # it would send token numbers of another model
        )
        print(f"a vector of {len(embeddings.embed_query(question))} numbers")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
