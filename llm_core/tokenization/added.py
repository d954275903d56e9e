"""Tokens added to a vocabulary by name, such as `<|im_end|>`: found before any splitting."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import regex

from llm_core.tokenization.characters import is_space

_WORD = regex.compile(r"\w")


@dataclass(frozen=True)
class AddedToken:
    """One added token and how it is matched in a text."""

    id: int
    content: str
    special: bool = False  # left out when text is decoded
    normalized: bool = False  # matched in the normalised text, not in the text as given
    single_word: bool = False  # only where no letter or digit touches it
    lstrip: bool = False  # takes the spaces before it
    rstrip: bool = False  # takes the spaces behind it


Parts = Iterator[tuple[str, int | None]]


class AddedTokens:
    """Cuts texts at added tokens; each part comes with its token's id, or None for text."""

    def __init__(self, tokens: Sequence[AddedToken], normalize: Callable[[str], str]) -> None:
        self._raw = _Matcher({t.content: t for t in tokens if t.content and not t.normalized})
        self._normal = _Matcher({normalize(t.content): t for t in tokens if t.normalized})

    def split(self, text: str, *, marks: bool) -> Parts:
        """Cut `text` as given; without `marks` special tokens are ordinary text."""
        return self._raw.split(text, marks)

    def split_normalized(self, text: str, *, marks: bool) -> Parts:
        """Cut normalised text, at the tokens that are looked for there."""
        return self._normal.split(text, marks)


class _Matcher:
    def __init__(self, tokens: dict[str, AddedToken]) -> None:
        self._tokens = {content: token for content, token in tokens.items() if content}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = regex.compile("|".join(map(regex.escape, longest_first)))

    def split(self, text: str, marks: bool) -> Parts:
        done = 0
        if self._tokens:
            for match in self._pattern.finditer(text):
                token = self._tokens[match.group()]
                start, end = match.span()
                if (token.special and not marks) or not _fits(token, text, start, end):
                    continue
                if token.lstrip:
                    start = max(_before_spaces(text, start), done)
                if token.rstrip:
                    end = _behind_spaces(text, end)
                if done < start:
                    yield text[done:start], None
                yield text[start:end], token.id
                done = end
        if done < len(text):
            yield text[done:], None


def _fits(token: AddedToken, text: str, start: int, end: int) -> bool:
    if not token.single_word:
        return True
    touched = (start and _WORD.match(text, start - 1)) or _WORD.match(text, end)
    return not touched


def _before_spaces(text: str, place: int) -> int:
    while place and is_space(ord(text[place - 1])):
        place -= 1
    return place


def _behind_spaces(text: str, place: int) -> int:
    while place < len(text) and is_space(ord(text[place])):
        place += 1
    return place
