"""Whether a free reply says that it does not know: the plain chain refuses in its own words."""

import re
from typing import Final

_SOURCE: Final = r"(?:context|documents?|passages?|text|information|excerpts?|pieces)"
_VERB: Final = (
    r"(?:mention|state|provide|specif(?:y|ie)|contain|include|say|give|answer|describe|indicate"
    r"|discuss|address|explain|have)\w*"
)
_REFUSAL: Final = re.compile(
    r"\b(?:i|we) (?:really |simply |just )?(?:do not|don't|cannot|can't|could not|couldn't)"
    r" (?:know|answer|find|determine|tell|say|have)\b"
    r"|\bi(?:'m| am) (?:not (?:sure|certain|able)|unable|sorry)\b"
    r"|\bnot in (?:your|the|these) documents?\b"
    rf"|\b{_SOURCE}\b[^.!?]{{0,60}}?(?:\bnot|n't|\bnever) (?:\w+ ){{0,2}}{_VERB}"
    r"|(?:\bnot|n't|\bnever) (?:\w+ ){0,2}(?:mentioned|stated|provided|specified|given|described"
    rf"|found|included|contained|available)\b[^.!?]{{0,40}}\b{_SOURCE}\b"
    r"|\b(?:no|not enough|insufficient) (?:\w+ ){0,2}(?:mention of|answer|information)\b"
    r"|\b(?:cannot|can't|can not|could not) be (?:answered|determined)\b"
    r"|\bunanswerable\b|ไม่ทราบ|ไม่มีข้อมูล|ไม่ได้ระบุ|ไม่พบข้อมูล",
    re.IGNORECASE,
)
_OPENING: Final = 2  # sentences: what comes later qualifies an answer, it does not refuse one


def is_refusal(reply: str) -> bool:
    """Whether the reply is empty, or says in its first two sentences that it has no answer."""
    opening = re.split(r"(?<=[.!?])\s+", reply.strip().replace("’", "'"))[:_OPENING]
    return not reply.strip() or _REFUSAL.search(" ".join(opening)) is not None
