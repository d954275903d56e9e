"""Characters in logical order: Thai marks on their letters, Arabic ones too, no glyph codes."""

import re
from typing import Final

from retrievers.errors import DocumentError

# Shapes of Thai signs in the private area, as fonts of Windows and of the Macintosh lay them out:
# letters without a foot, marks further left over tall letters, and marks further down.
_THAI_SHAPES: Final = {
    0xF700: "ฐ", 0xF701: "ิ", 0xF702: "ี", 0xF703: "ึ", 0xF704: "ื", 0xF705: "่", 0xF706: "้",
    0xF707: "๊", 0xF708: "๋", 0xF709: "์", 0xF70A: "่", 0xF70B: "้", 0xF70C: "๊", 0xF70D: "๋",
    0xF70E: "์", 0xF70F: "ญ", 0xF710: "ั", 0xF711: "ํ", 0xF712: "็", 0xF713: "่", 0xF714: "้",
    0xF715: "๊", 0xF716: "๋", 0xF717: "์", 0xF718: "ุ", 0xF719: "ู", 0xF71A: "ฺ",
}  # fmt: skip
_THAI_MARK: Final = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
_THAI_GAP: Final = re.compile(rf"(?<=[ก-ฮ{_THAI_MARK}])[ ]+(?=[{_THAI_MARK}\u0e33])")
_SARA_AM: Final = re.compile("\u0e4d([\u0e48-\u0e4b]?)\u0e32")  # drawn as a ring and an aa
_TONE_FIRST: Final = re.compile(r"([\u0e48-\u0e4c])([\u0e31\u0e34-\u0e39])")
_ARABIC_MARK_FIRST: Final = re.compile(r"(?<=[\u0621-\u064a])[ ]([\u064b-\u0652])([\u0621-\u064a])")
_NO_GAP_BEFORE_ARABIC: Final = re.compile(r"(?<=[A-Za-z])(?=[\u0621-\u064a])")
_MEANINGLESS: Final = re.compile(r"[\x00-\x08\x0e-\x1f\ue000-\uf8ff\ufffd]")
_MAX_MEANINGLESS: Final = 0.3  # of the characters that are not white space


def logical(text: str) -> str:
    """The text with marks behind the letters they stand on, and signs that mean something."""
    text = text.translate(_THAI_SHAPES)
    text = _TONE_FIRST.sub(r"\2\1", _THAI_GAP.sub("", text))
    text = _SARA_AM.sub("\\1\u0e33", text)
    return _NO_GAP_BEFORE_ARABIC.sub(" ", _ARABIC_MARK_FIRST.sub(r"\2\1", text))


def require_meaning(text: str) -> None:
    """Raise DocumentError where much of a text layer are glyphs of a font, not characters."""
    visible = len("".join(text.split()))
    if len(_MEANINGLESS.findall(text)) > max(20, _MAX_MEANINGLESS * visible):
        raise DocumentError(
            "unreadable text layer: its fonts do not say which characters they show; make it"
            " searchable with OCR"
        )
