"""Constrained decoding: a guide says which tokens may come next, so a reply cannot be malformed.

The grammar engine is llguidance. What follows a guide needs no more than its four methods.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from llm_core.grammars import SchemaError, quoted
from llm_core.guides import BudgetError, GrammarGuide, Guide
from llm_core.tokenizer import TextTokenizer

__all__ = [
    "BudgetError",
    "GrammarGuide",
    "Guide",
    "SchemaError",
    "choice_guide",
    "json_guide",
    "regex_guide",
    "split_words",
    "substring_guide",
]

_LEAD = re.compile(r"\s+|[\w'’]+(?:[.,:/-]\w+)*|[^\w\s]")
# Scripts written without spaces: any run of characters (with their marks) is allowed.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
    "[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd]*"
)


def json_guide(
    schema: dict[str, Any], tokenizer: TextTokenizer, max_tokens: int, *, lead: str = ""
) -> GrammarGuide:
    """Replies that are `lead` and JSON text of `schema`, written as `json.dumps` writes it.

    What the grammar engine does not know (`not`, `if`, some formats) is not enforced here:
    validate the reply as well. Raises SchemaError or BudgetError.
    """
    return tokenizer.grammars.of_json(schema, lead).guide(max_tokens)


def choice_guide(choices: Sequence[str], tokenizer: TextTokenizer, max_tokens: int) -> GrammarGuide:
    """Replies that are one of `choices`, of those that the budget can hold."""
    fitting = [c for c in choices if c and len(tokenizer.encode(c, marks=False)) <= max_tokens]
    if not fitting:
        raise BudgetError(f"max_tokens={max_tokens} cannot hold any of {len(choices)} choices")
    text = "start: " + " | ".join(map(quoted, fitting))
    return tokenizer.grammars.of_lark(text).guide(max_tokens)


def regex_guide(pattern: str, tokenizer: TextTokenizer, max_tokens: int) -> GrammarGuide:
    """Replies that match `pattern` as a whole (Rust syntax, no look-around)."""
    return tokenizer.grammars.of_regex(pattern).guide(max_tokens)


def substring_guide(
    prefix: str, text: str, tokenizer: TextTokenizer, max_tokens: int
) -> GrammarGuide:
    """Replies that are `prefix` and then one contiguous run of whole words of `text`."""
    chunks = json.dumps(split_words(text))
    if not text.strip():
        raise SchemaError("the text to take words from is empty")
    start = f"{quoted(prefix)} RUN" if prefix else "RUN"
    grammar = (
        f"start: {start}\n"
        "RUN: WORDS & /(?s:.*[^\\s].*)/\n"
        f'WORDS: %regex {{"substring_chunks": {chunks}}}\n'
    )
    return tokenizer.grammars.of_lark(grammar).guide(max_tokens)


def split_words(text: str) -> list[str]:
    """`text` cut into words, punctuation marks and blanks; joined they are `text` again."""
    chunks: list[str] = []
    at = 0
    while at < len(text):
        found = _UNSPACED.match(text, at) or _LEAD.match(text, at)
        end = found.end() if found else at + 1
        cut = next((i for i in range(at + 1, end) if _UNSPACED.match(text, i)), end)
        end = cut if found and not _UNSPACED.match(text, at) else end
        chunks.append(text[at:end])
        at = end
    return chunks
