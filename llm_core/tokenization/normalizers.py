"""What happens to a text before it is split, as `tokenizer.json` declares it."""

from collections.abc import Callable
from typing import cast, get_args

from llm_core.tokenization.characters import (
    CharacterMap,
    Form,
    characters,
    is_chinese,
    is_space,
)
from llm_core.tokenization.sections import Section, compile_pattern, unknown_kind

Normalizer = Callable[[str], str]


class BertNormalizer:
    """BERT's clean-up: no control characters, plain spaces, ideographs apart, accents off."""

    def __init__(self, *, clean: bool, chinese: bool, strip_accents: bool, lower: bool) -> None:
        self._clean = clean
        self._chinese = chinese
        self._strip_accents = strip_accents
        self._lower = lower
        self._table = CharacterMap(self._replacement)

    def __call__(self, text: str) -> str:
        """The cleaned text."""
        text = text.translate(self._table)
        if self._strip_accents:
            text = strip_marks(characters().normalize("NFD", text))
        return characters().lower(text) if self._lower else text

    def _replacement(self, code: int) -> str | None:
        char = chr(code)
        if self._clean:
            if char in "\0\ufffd" or (char not in "\t\n\r" and code in characters().other):
                return None
            if is_space(code):
                return " "
        return f" {char} " if self._chinese and is_chinese(code) else char


def strip_marks(text: str) -> str:
    """`text` without its non-spacing marks."""
    if text.isascii():
        return text
    marks = characters().marks
    return "".join(char for char in text if char < "\u0300" or ord(char) not in marks)


def build_normalizer(section: Section | None) -> Normalizer:
    """The normaliser of a `tokenizer.json` section; raises `ModelFileError` for another kind."""
    if section is None:
        return str
    kind = section.get("type")
    if kind == "Sequence":
        return _chain([build_normalizer(part) for part in section["normalizers"]])
    if kind in get_args(Form):
        return _form(cast(Form, kind))
    if kind == "BertNormalizer":
        accents, lower = section["strip_accents"], section["lowercase"]
        return BertNormalizer(
            clean=section["clean_text"],
            chinese=section["handle_chinese_chars"],
            strip_accents=lower if accents is None else accents,
            lower=lower,
        )
    if kind == "Replace":
        return _replace(section)
    if kind == "Prepend":
        return _prepend(str(section["prepend"]))
    if kind == "Lowercase":
        return lambda text: characters().lower(text)
    raise unknown_kind("normalizer", section)


def _chain(steps: list[Normalizer]) -> Normalizer:
    def normalize(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return normalize


def _form(form: Form) -> Normalizer:
    return lambda text: characters().normalize(form, text)


def _replace(section: Section) -> Normalizer:
    pattern, content = compile_pattern(section["pattern"]), str(section["content"])
    return lambda text: pattern.sub(lambda _: content, text)


def _prepend(prefix: str) -> Normalizer:
    return lambda text: prefix + text if text else text
