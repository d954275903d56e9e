"""What a question wants: a fact, facts over several hops, a comparison, a summary, or small talk.

Rules over its words, English and Thai; a question that no rule knows asks for a fact.
"""

import re
from typing import Final, Literal, TypeAlias

Intent: TypeAlias = Literal["fact", "multi-hop", "comparison", "summary", "chit-chat"]

_READ: Final = 800  # characters; some rules take the cube of the length

_CHIT_CHAT: Final = re.compile(
    r"(?:hi|hello|hey|thanks|thank you|good (?:morning|evening|afternoon|day)|bye|goodbye|ok|okay"
    r"|how are you|who are you|what are you|what can you do|help|สวัสดี|ขอบคุณ)"
    r"(?:[\s,!.]*(?:there|you|all|very much|a lot|so much|deerstalker|today|how are you"
    r"|ครับ|ค่ะ|คะ|มาก))*"
    r"[\s!?.,]*",
    re.IGNORECASE,
)
_SUMMARY: Final = re.compile(
    r"\b(?:summar(?:y|ies|i[sz]e[sd]?|i[sz]ing)|overviews?|outlines?|main (?:points|ideas|findings"
    r"|themes|topics)|key (?:points|takeaways|findings)|give (?:me )?a report|gist)\b"
    r"|^(?:tell me (?:all |everything )?about|describe|what (?:is|are) (?:this|these|the) (?:\w+ )?"
    r"(?:documents?|papers?|reports?|books?|files?|stor(?:y|ies)) about)\b"
    r"|สรุป|ภาพรวม|เล่าเรื่อง|ประเด็นสำคัญ|ใจความ",
    re.IGNORECASE,
)
_MORE: Final = (
    r"(?:more|less|fewer|most|least|first|last|earlier|earliest|later|latest|sooner|higher|highest"
    r"|lower|lowest|older|oldest|younger|youngest|taller|tallest|larger|largest|bigger|biggest"
    r"|smaller|smallest|longer|longest|shorter|shortest|closer|closest|farther|further|faster"
    r"|better|best|worse|wider|greater|newer|heavier|deeper|richer|same)"
)
_NAME: Final = r"[A-Z\"'][^,?]*?"
_COMPARISON: Final = (
    re.compile(
        r"\b(?:compared?|comparing|comparisons?|differ(?:s|ed|ent)? (?:from|in|between)"
        r"|differences? between|versus|vs\.?|in common|similarit(?:y|ies)|both)\b"
        rf"|\b{_MORE}\b[^?]*\bthan\b"
        r"|^(?:are|is|do|does|did|were|was|have|has)\b[^?]*\band\b[^?]*"
        r"\b(?:same|both|each other|alike|all)\b"
        r"|เปรียบเทียบ|แตกต่าง|ต่างกัน|เหมือนกัน|เทียบกับ",
        re.IGNORECASE,
    ),
    re.compile(rf"\b{_MORE}\b[^?]*,?\s{_NAME}\s+or\s+{_NAME}"),  # who is older, Ann or Bob
    re.compile(rf",\s*{_NAME}\s+or\s+{_NAME}[?\s]*$"),
    re.compile(rf"^(?:Are|Is|Do|Does|Did|Were|Was|Have|Has|are|is|do|did|were)\s{_NAME}\s+and\s"
               rf"{_NAME}"),
    re.compile(rf"^(?:Is|Are|Was|Were)\s{_NAME}\s+or\s+{_NAME}"),
)  # fmt: skip
_THE_ONE: Final = re.compile(  # a thing told by what it did: "the actor who played", "a band with"
    r"\b(?:the|a|an|this)\s+(?:[\w-]+\s+){1,6}?(?:who|whose|that|which|in which|to which|of which"
    r"|where)\b",
    re.IGNORECASE,
)
_CHAIN: Final = re.compile(  # "the father of the director of", "Ann's mother's village"
    r"\b(?:the|a|an)\s+[\w ]{2,40}\s+(?:of|for|in|by|from)\s+(?:the|a|an)\s+[\w ]{2,40}\s+"
    r"(?:of|for|in|by|from|who|that|which)\b|['’]s\s+[\w ]{2,30}['’]s\b|['’]s\s+\w+\s+"
    r"(?:die|born|from|work|live|play)",
    re.IGNORECASE,
)
_LATE_ASKING: Final = re.compile(  # the asking word stands late: "... is located in what county?"
    r"^(?!(?:in|at|on|of|for|from|to|by|with|under|during|who|what|which|when|where|why|how)\b)"
    r"[^?]{25,}\b(?:what|which|who|whom|where|when|how many)\b",
    re.IGNORECASE,
)


def intent_of(question: str) -> Intent:
    """The intent of a normalised question, told by its first 800 characters."""
    if _CHIT_CHAT.fullmatch(question):
        return "chit-chat"
    question = question[:_READ]
    if _SUMMARY.search(question):
        return "summary"
    if any(pattern.search(question) for pattern in _COMPARISON):
        return "comparison"
    hops = any(pattern.search(question) for pattern in (_THE_ONE, _CHAIN, _LATE_ASKING))
    return "multi-hop" if hops else "fact"
