"""What a text offers to copy: numbers in digits and words, lists of numbers, and dates."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>-?)(?:(?<=[-\s(\[$€£=:,;\"'])|(?<![\w.]))(?P<digits>{_DIGITS})"
    r"(?P<rest>\s?(?:%|per\s?cent\b)|\s?(?:thousand|million|billion|k|M|K|bn)\b)?"
)
_SCALES = {"thousand": 3, "k": 3, "million": 6, "m": 6, "billion": 9, "bn": 9}
_NAMES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_ONES = _NAMES.split()[:20]
_TENS = {word: 10 * number for number, word in enumerate(_NAMES.split()[20:], start=2)}
_WORDS = {word: number for number, word in enumerate(_ONES)} | _TENS
_WORDS |= {"dozen": 12, "couple": 2, "once": 1, "twice": 2, "single": 1, "hundred": 100}
_SPOKEN = re.compile(
    rf"\b(?:({'|'.join(_TENS)})[- ]({'|'.join(_ONES[1:10])})|({'|'.join(_WORDS)}))\b", re.IGNORECASE
)
_PART = r"-?(?:\d+(?:\.\d+)?|\.\d+)"
_LIST = re.compile(rf"(?<![\w.]){_PART}(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+){_PART})+(?![\w])")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?"
_DAY, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<year>\d{4})"
_DATES = (
    re.compile(rf"\b{_MONTH}\s+{_DAY},?\s+{_YEAR}\b", re.IGNORECASE),
    re.compile(rf"\b{_DAY}\s+(?:of\s+)?{_MONTH},?\s+{_YEAR}\b", re.IGNORECASE),
    re.compile(rf"\b{_YEAR}[-/](?P<month>\d{{1,2}})[-/]{_DAY}\b"),
    re.compile(rf"\b(?P<month>\d{{1,2}})[-/]{_DAY}[-/]{_YEAR}\b"),
)
_CODES = {"Y": "YYYY", "m": "MM", "d": "DD"}
_STRFTIME = re.compile(r"%([Ymd])")
_PIECE = r"(Y{4}|M{2}|D{2})"
_FORMAT = re.compile(rf"(?<![A-Za-z]){_PIECE}([-/.]){_PIECE}\2{_PIECE}(?![A-Za-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """A number as JSON writes it, and where it stands in the text in UTF-8.

    `whole` where it has no decimals, `spoken` where it is in words.
    """

    text: bytes
    whole: bool
    start: int = 0
    end: int = 0
    spoken: bool = False


@lru_cache(maxsize=16)
def numbers_in(text: str) -> tuple[Number, ...]:
    """The numbers of a text in order, one entry for each reading of each mention."""
    found: list[Number] = []
    for match in _NUMBER.finditer(text):
        start, end = _bytes(text, match.start("digits")), _bytes(text, match.end("digits"))
        found += [replace(each, start=start, end=end) for each in _readings(match)]
    for match in _SPOKEN.finditer(text):
        tens, ones, word = (part.lower() if part else "" for part in match.groups())
        value = _WORDS[word] if word else _WORDS[tens] + _WORDS[ones]
        start, end = _bytes(text, match.start()), _bytes(text, match.end())
        found.append(Number(b"%d" % value, True, start, end, spoken=True))
    return tuple(found)


def _bytes(text: str, at: int) -> int:
    return len(text[:at].encode())


def _readings(match: re.Match[str]) -> Iterator[Number]:
    digits = match["digits"].replace(",", "")
    yield _number(match["sign"] + digits)
    rest = (match["rest"] or "").strip().lower()
    if rest in _SCALES:
        yield _number(match["sign"] + _shifted(digits, _SCALES[rest]))
    elif rest:
        yield Number(_number(match["sign"] + _shifted(digits, -2)).text, False)


def _number(text: str) -> Number:
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, point, decimals = digits.partition(".")
    whole = whole.lstrip("0") or "0"
    return Number(f"{sign}{whole}{point}{decimals}".encode(), not point)


def _shifted(digits: str, places: int) -> str:
    """Decimal digits times a power of ten, without needless zeros."""
    whole, _, decimals = digits.partition(".")
    if places > 0:
        decimals = decimals.ljust(places, "0")
        whole, decimals = whole + decimals[:places], decimals[places:]
    else:
        whole = whole.rjust(1 - places, "0")
        whole, decimals = whole[:places], whole[places:] + decimals
    decimals = decimals.rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole


@lru_cache(maxsize=16)
def number_lists(text: str) -> tuple[tuple[bytes, ...], ...]:
    """The lists of two or more numbers in a text, such as "3, 4 and 5" or [1,2]."""
    return tuple(
        tuple(_number(part).text for part in re.findall(_PART, match.group()))
        for match in _LIST.finditer(text)
    )


@lru_cache(maxsize=64)
def dates_in(text: str, description: str) -> tuple[str, ...]:
    """The dates of a text that name a year, in the format that a description shows, if any."""
    shown = _FORMAT.search(_STRFTIME.sub(lambda found: _CODES[found[1]], description))
    if shown is None:
        return ()
    order, gap = [shown[n].upper() for n in (1, 3, 4)], shown[2]
    if sorted(order) != ["DD", "MM", "YYYY"]:
        return ()
    found = []
    for pattern in _DATES:
        for match in pattern.finditer(text):
            month = match["month"].lower()
            number = _MONTHS.index(month) + 1 if month in _MONTHS else int(month)
            if 1 <= number <= 12 and 1 <= int(match["day"]) <= 31:
                parts = {"YYYY": match["year"], "MM": f"{number:02}", "DD": match["day"].zfill(2)}
                found.append(gap.join(parts[each] for each in order))
    return tuple(dict.fromkeys(found))
