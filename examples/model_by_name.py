"""`init_chat_model` of LangChain, for names that begin with local: too.

python examples/model_by_name.py [local:smollm2-135m | local:PATH.gguf | PROVIDER:NAME]
"""

import sys
from collections.abc import Sequence
from typing import Any

from langchain.chat_models import init_chat_model as init_served
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.runnables import ConfigurableField, Runnable

from llm_core import LocalChatModel


def init_chat_model(
    model: str,
    *,
    model_provider: str | None = None,
    configurable_fields: Sequence[str] = (),
    config_prefix: str | None = None,
    **kwargs: Any,
) -> Runnable[LanguageModelInput, BaseMessage]:
    """The chat model of a name: ours for local:NAME, any other from LangChain."""
    name = f"{model_provider}:{model}" if model_provider else model
    if not name.startswith("local:"):
        fields: Any = list(configurable_fields) or None
        served: Runnable[LanguageModelInput, BaseMessage] = init_served(
            name, configurable_fields=fields, config_prefix=config_prefix, **kwargs
        )
        return served
    chosen = LocalChatModel(model=name, **kwargs)
    if not configurable_fields:
        return chosen
    prefix = f"{config_prefix}_" if config_prefix else ""
    return chosen.configurable_fields(
        **{field: ConfigurableField(id=prefix + field) for field in configurable_fields}
    )


def main(arguments: Sequence[str]) -> int:
    """Ask a model by its name, twice with settings that are given with the question."""
    name = arguments[0] if arguments else "local:smollm2-135m"
    model = init_chat_model(
        name, temperature=0.0, configurable_fields=("model", "max_tokens"), config_prefix="chat"
    )
    for tokens in (5, 20):
        reply = model.invoke("Count from 1 to 9.", {"configurable": {"chat_max_tokens": tokens}})
        print(f"{reply.response_metadata['model_name']}, {tokens} tokens: {reply.text!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
