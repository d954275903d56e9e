"""The letters that byte-level vocabularies write bytes with.

Printable bytes of Latin-1 stand for themselves; the other 68 become the letters from U+0100 on
(a space is `Ġ`, a line break `Ċ`), so that a token of any bytes is a printable string.
Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (GPT-2).
"""

from functools import cache

_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))


@cache
def byte_letters() -> dict[int, str]:
    """The letter of each byte; also a table for `str.translate` over Latin-1."""
    hidden = sorted(set(range(256)) - set(_PRINTABLE))
    letters = {byte: chr(byte) for byte in _PRINTABLE}
    return letters | {byte: chr(0x100 + place) for place, byte in enumerate(hidden)}


@cache
def letter_bytes() -> dict[str, int]:
    """The byte of each letter."""
    return {letter: byte for byte, letter in byte_letters().items()}


def alphabet() -> list[str]:
    """All 256 letters, in the order of their code points."""
    return sorted(byte_letters().values())


def spell(text: str) -> str:
    """The UTF-8 bytes of `text`, a letter each."""
    return text.encode().decode("latin-1").translate(byte_letters())


def piece_bytes(token: str) -> bytes:
    """The bytes that a token stands for; a token with any other letter stands for itself."""
    table = letter_bytes()
    try:
        return bytes([table[letter] for letter in token])
    except KeyError:
        return token.encode()
