"""Texts that have no UTF-8 form."""


def whole_characters(text: str) -> str:
    """`text` with surrogate pairs joined, and half ones, which stand for nothing, as U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
