"""Ask any chat model for an object; one that cannot give it is no error here."""

from collections.abc import Sequence
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage


def object_of(model: BaseChatModel, schema: Any, messages: Sequence[BaseMessage]) -> Any:
    """What the model replies under `schema`; None where it gives no such object.

    A model without structured output says so by NotImplementedError, one whose reply is no
    object by OutputParserException: the caller has a way that needs neither.
    """
    try:
        return model.with_structured_output(schema).invoke(list(messages))
    except (OutputParserException, NotImplementedError):
        return None
