"""What a question asks for, read from its words: terms, and the type of its answer."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from retrievers.analysis import STOP_WORDS, tokenize
from retrievers.language import detect

AnswerType = Literal["number", "time", "person", "place", "reason", "other"]

_TYPES: Final[tuple[tuple[AnswerType, str], ...]] = (
    (
        "number",
        r"\bhow (?:many|much|long|old|far|tall|large|often|big|high|deep|fast|heavy)\b"
        r"|\bwhat (?:percent\w*|number|amount|age|fraction|share|price|sum)\b|กี่|เท่าไ[รห]",
    ),
    (
        "time",
        r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|decade|century|time|season)\b"
        r"|เมื่อไ|เมื่อใด|ปีใด|ปีไหน|วันที่|พ\.ศ\.",
    ),
    ("person", r"\bwho(?:m|se)?\b|\bwhat (?:is|was|are|were) the [\w ]*?names?\b|ใคร|ผู้ใด"),
    (
        "place",
        r"\bwhere\b|\b(?:what|which) (?:city|country|state|place|town|location|street|continent"
        r"|county|region|village)\b|ที่ไหน|ที่ใด|จังหวัดใด|จังหวัดไหน|ประเทศใด|ประเทศไหน",
    ),
    ("reason", r"\bwhy\b|\bwhat (?:reason|caused)\b|ทำไม|เพราะเหตุใด|เพราะอะไร"),
)
_NUMBERS: Final = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fifteen twenty thirty "
    "forty fifty sixty hundred thousand million billion dozen first second third half twice"
)
_THAI_NUMBERS: Final = "หนึ่ง สอง สาม สี่ ห้า หก เจ็ด แปด เก้า สิบ ร้อย พัน หมื่น แสน ล้าน"
NUMBER_WORDS: Final = frozenset(_NUMBERS.split())
_TIME: Final = re.compile(
    r"\b(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|century|1\d{3}s?|20\d{2}|monday|tuesday|wednesday|thursday|friday|saturday|sunday|morning"
    r"|evening|night|summer|winter|spring|autumn|midnight|noon)\b"
    r"|\d{4}|มกราคม|กุมภาพันธ์|มีนาคม|เมษายน|พฤษภาคม|มิถุนายน|กรกฎาคม|สิงหาคม|กันยายน|ตุลาคม|พฤศจิกายน|ธันวาคม"
)
_REASON: Final = re.compile(
    r"\b(?:because|since|due to|in order|so that|as a result|caus\w+|reasons?|therefore|thus)\b"
    r"|เพราะ|เนื่องจาก"
)
_WORD: Final = re.compile(r"[\w\u0e31-\u0e4e]+")  # Thai vowel signs are no \w, but in words
_ASKING: Final = re.compile(r"\b(?:what|which|how)\b")  # of no type where none of _TYPES holds
_NAME: Final = re.compile(r"\b[A-Z][a-zà-ÿ]+")


@dataclass(frozen=True)
class Question:
    """A question with what the checks need of it."""

    text: str

    @cached_property
    def language(self) -> str:
        """ISO 639-1 code of the language."""
        return detect(self.text)

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Search terms, stop words dropped, in order and without repeats."""
        return tuple(dict.fromkeys(tokenize(self.text)))

    @cached_property
    def words(self) -> frozenset[str]:
        """The words as written, lower-cased."""
        return frozenset(word.lower() for word in _WORD.findall(self.text))

    @cached_property
    def answer_type(self) -> AnswerType:
        """What kind of thing would answer it."""
        lowered = self.text.lower()
        found = [(m.start(), kind) for kind, p in _TYPES if (m := re.search(p, lowered))]
        if not found:
            return "other"
        start, kind = min(found, key=lambda pair: pair[0])
        asking = _ASKING.search(lowered)
        return "other" if asking is not None and asking.start() < start else kind

    def holds_type(self, sentence: str) -> bool | None:
        """Whether `sentence` brings something new of the type asked for; None: cannot be told."""
        lowered = sentence.lower()
        match self.answer_type:
            case "number":
                if self.language == "th" and any(w in lowered for w in _THAI_NUMBERS.split()):
                    return True
                return any(w[0].isdigit() or w in NUMBER_WORDS for w in self._new(lowered))
            case "time":
                return any(m not in self.words for m in _TIME.findall(lowered))
            case "person" | "place":
                if self.language == "th":
                    return None
                return any(True for _ in self._new_names(sentence))
            case "reason":
                return _REASON.search(lowered) is not None
            case _:
                return None

    def _new(self, lowered: str) -> Iterator[str]:
        return (w for w in _WORD.findall(lowered) if w not in self.words)

    def _new_names(self, sentence: str) -> Iterator[str]:
        return (
            name
            for name in _NAME.findall(sentence)
            if name.lower() not in self.words and name.lower() not in STOP_WORDS
        )
