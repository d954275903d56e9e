"""Writer: answer from evidence sentences that code chose; the model composes, or they are quoted.

The model may cite only the numbers of the texts it is shown: the reply's schema holds no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from agents.capabilities import ExtractsSpans
from agents.gatherer import PART
from agents.notes import Draft, DraftSentence, EvidenceRef
from agents.profile import Profile
from agents.prompts import SHORT, SHORT_SYSTEM, WRITE, WRITE_SYSTEM
from agents.question import Question

MAX_SENTENCE_CHARACTERS: Final = 240
MAX_IDS: Final = 2


@dataclass(frozen=True)
class Choice:
    """How many evidence sentences are quoted: more where belief in the first is low."""

    sure: float = 0.75  # belief from which one sentence is enough
    unsure: float = 0.5  # belief in the first two under which a third is added
    parts_more_than_one: int = 1  # sentences a part, where a question has several parts


class Writer:
    """Drafts an answer."""

    def __init__(
        self, model: BaseChatModel, profile: Profile, choice: Choice | None = None
    ) -> None:
        self._model = model
        self._profile = profile
        self._choice = choice or Choice()

    def write(
        self, question: Question, evidence: Sequence[EvidenceRef], texts: Mapping[int, str]
    ) -> Draft:
        """A draft over `evidence`, whose sentences' texts are in `texts` by number from 1."""
        chosen = self.choose(evidence)
        if not chosen:
            return Draft()
        quotes = [DraftSentence(text=_flat(texts[n]), evidence=[n]) for n in chosen]
        short = self.short_answer(question, [_flat(texts[n]) for n in chosen])
        return Draft(sentences=quotes, short_answer=short)

    def choose(self, evidence: Sequence[EvidenceRef]) -> list[int]:
        """Numbers (from 1) of the evidence to answer with, best first."""
        parts: dict[float, list[int]] = {}
        for number, ref in enumerate(evidence, 1):
            parts.setdefault(ref.features.get(PART, 0.0), []).append(number)
        chosen: list[int] = []
        for numbers in parts.values():
            beliefs = [evidence[n - 1].score for n in numbers]
            count = self._count(beliefs) if len(parts) == 1 else self._choice.parts_more_than_one
            chosen += numbers[:count]
        return chosen

    def _count(self, beliefs: Sequence[float]) -> int:
        if beliefs[0] >= self._choice.sure:
            return 1
        return 2 if sum(beliefs[:2]) >= self._choice.unsure else 3

    def short_answer(self, question: Question, texts: Sequence[str]) -> str:
        """The words of the evidence that answer most briefly."""
        if question.language == "en" and isinstance(self._model, ExtractsSpans):
            asked = SHORT.format(text=" ".join(texts), question=question.text)
            found = self._model.extract(
                [SystemMessage(SHORT_SYSTEM), HumanMessage(asked)], " ".join(texts)
            )
            return found.strip(" ,;:.")
        return texts[0]

    def compose(
        self, question: Question, numbers: Sequence[int], texts: Mapping[int, str]
    ) -> DraftSentence | None:
        """One sentence of the model's own over the numbered texts; None where it gave none."""
        shown = list(numbers)[: self._profile.evidence_shown]
        schema = _reply_schema(shown)
        asked = WRITE.format(
            texts="\n".join(f"[{n}] {_flat(texts[n])}" for n in shown), question=question.text
        )
        messages: list[BaseMessage] = [SystemMessage(WRITE_SYSTEM), HumanMessage(asked)]
        try:
            reply: Any = self._model.with_structured_output(schema).invoke(messages)
        except (OutputParserException, NotImplementedError):
            return None  # the evidence is quoted instead
        if not isinstance(reply, dict) or not str(reply.get("sentence") or "").strip():
            return None
        cited = [n for n in dict.fromkeys(reply.get("texts") or []) if n in shown][:MAX_IDS]
        if not cited:
            return None
        return DraftSentence(text=_flat(str(reply["sentence"])), evidence=cited, composed=True)


def _reply_schema(numbers: Sequence[int]) -> dict[str, Any]:
    return {
        "title": "Answer",
        "type": "object",
        "properties": {
            "sentence": {"type": "string", "maxLength": MAX_SENTENCE_CHARACTERS},
            "texts": {
                "type": "array",
                "items": {"type": "integer", "enum": list(numbers)},
                "minItems": 1,
                "maxItems": MAX_IDS,
            },
        },
        "required": ["sentence", "texts"],
        "additionalProperties": False,
    }


def _flat(text: str) -> str:
    return " ".join(text.split())
