"""Writer: answer from evidence sentences that code chose; the model composes, or they are quoted.

The model may cite only the numbers of the texts it is shown: the reply's schema holds no others.
A composed sentence takes a quotation's place only where it keeps whatever in the quotation could
be the answer, so that an answer is never worse than its quoted evidence.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from agents.capabilities import ScoresReplies
from agents.gatherer import PART
from agents.notes import Draft, DraftSentence, EvidenceRef
from agents.profile import Profile
from agents.prompts import SHORT, SHORT_REPLY, WRITE, WRITE_SYSTEM
from agents.question import Question
from agents.spans import candidates
from retrievers.analysis import tokenize
from retrievers.query.structured import object_of

MAX_SENTENCE_CHARACTERS: Final = 240
MAX_IDS: Final = 2
MIN_WORDS: Final = 4  # fewer are a fragment, not a sentence
MAX_WORDS: Final = 40  # of evidence to compose from; longer texts are quoted
KEPT_TERMS: Final = 0.75  # of what the quotation adds to the question
TYPE_BONUS: Final = 1.0  # log probability for a span of the type asked for
_EXACT: Final = re.compile(r"\d+(?:[.,]\d+)*|(?<![.!?]\s)(?<!^)\b[A-Z][\w'’-]+")
_ITEM: Final = re.compile(r"\d+(?:[.,]\d+)*|[\w'’-]+")


@dataclass(frozen=True)
class Choice:
    """How much evidence is quoted: what fits into few words, and more where belief is low.

    Chosen on training questions: answers as often right as two whole sentences, in fewer words.
    """

    words: int = 36  # sentences are added up to here
    belief: float = 0.75  # and beyond, while those chosen are believed less than this
    most: int = 3
    beside: float = 0.06  # least share of the first one's belief, in the same passage
    elsewhere: float = 0.4  # and in another
    of_a_part: int = 1  # sentences a part, where a question has several parts


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
        flat = {number: _flat(text) for number, text in texts.items()}
        chosen = self.choose(evidence, flat)
        if not chosen:
            return Draft()
        sentences = [DraftSentence(text=flat[n], evidence=[n]) for n in chosen]
        worth = self._worth_composing(question, [flat[n] for n in chosen])
        composed = self.compose(question, chosen, flat) if worth else None
        if composed is not None and keeps_answer(composed, flat, question):
            rest = [s for s in sentences if s.evidence[0] not in composed.evidence]
            sentences = [composed, *rest]
        short = self.short_answer(question, [flat[n] for n in chosen])
        return Draft(sentences=sentences, short_answer=short)

    def choose(self, evidence: Sequence[EvidenceRef], texts: Mapping[int, str]) -> list[int]:
        """Numbers (from 1) of the evidence to answer with, best first."""
        parts: dict[float, list[int]] = {}
        for number, ref in enumerate(evidence, 1):
            if number in texts:
                parts.setdefault(ref.features.get(PART, 0.0), []).append(number)
        if len(parts) == 1:
            return self._fill(next(iter(parts.values())), evidence, texts)
        return [n for numbers in parts.values() for n in numbers[: self._choice.of_a_part]]

    def _fill(
        self, numbers: Sequence[int], evidence: Sequence[EvidenceRef], texts: Mapping[int, str]
    ) -> list[int]:
        """The first of `numbers`, and as many of the next as `Choice` allows."""
        choice, first = self._choice, evidence[numbers[0] - 1]
        chosen = [numbers[0]]
        for number in numbers[1 : 2 * choice.most]:
            ref = evidence[number - 1]
            least = choice.beside if ref.passage_id == first.passage_id else choice.elsewhere
            if ref.score < least * first.score:
                continue
            words = sum(len(texts[n].split()) for n in [*chosen, number])
            believed = sum(evidence[n - 1].score for n in chosen)
            if words <= choice.words or believed < choice.belief:
                chosen.append(number)
            if len(chosen) == choice.most:
                break
        return chosen

    def _worth_composing(self, question: Question, quotes: Sequence[str]) -> bool:
        """Whether a sentence of the model's own could stand: a small model does one short text."""
        if not self._profile.composes or not self._profile.speaks(question.language):
            return False
        shown = quotes[: self._profile.evidence_shown]
        return len(quotes) <= len(shown) and sum(len(q.split()) for q in shown) <= MAX_WORDS

    def short_answer(self, question: Question, texts: Sequence[str]) -> str:
        """The words of the first text that the model finds the likeliest brief answer."""
        spans = candidates(texts[0], question)
        if not spans:
            return texts[0]
        prior = [_TYPE_VALUE[question.holds_type(span)] for span in spans]
        model: Any = self._model
        if isinstance(model, ScoresReplies) and self._profile.speaks(question.language):
            asked = [HumanMessage(SHORT.format(text=texts[0], question=question.text))]
            scores = model.score(asked, [SHORT_REPLY.format(answer=span) for span in spans])
            prior = [score + bonus for score, bonus in zip(scores, prior, strict=True)]
        return max(zip(prior, spans, strict=True), key=lambda pair: (pair[0], -len(pair[1])))[1]

    def compose(
        self, question: Question, numbers: Sequence[int], texts: Mapping[int, str]
    ) -> DraftSentence | None:
        """One sentence of the model's own over the numbered texts; None where it gave none."""
        shown = list(numbers)[: self._profile.evidence_shown]
        schema = _reply_schema(shown, sum(len(texts[n]) for n in shown))
        asked = WRITE.format(
            texts="\n".join(f"[{n}] {texts[n]}" for n in shown), question=question.text
        )
        messages: list[BaseMessage] = [SystemMessage(WRITE_SYSTEM), HumanMessage(asked)]
        reply = object_of(self._model, schema, messages)
        if not isinstance(reply, dict):
            return None  # and the evidence is quoted
        sentence = _flat(str(reply.get("full_sentence") or ""))
        cited = [n for n in dict.fromkeys(reply.get("texts") or []) if n in shown][:MAX_IDS]
        if len(sentence.split()) < MIN_WORDS or not cited:
            return None
        return DraftSentence(text=sentence, evidence=cited, composed=True)


_TYPE_VALUE: Final = {True: TYPE_BONUS, False: -TYPE_BONUS, None: 0.0}


def keeps_answer(sentence: DraftSentence, texts: Mapping[int, str], question: Question) -> bool:
    """Whether a composed sentence keeps what could be the answer in the texts it would replace.

    That is: every name and number the question does not hold, most of the other words, something
    of the type asked for; and it is shorter than what it replaces.
    """
    given = " ".join(texts[n] for n in sentence.evidence)
    if sentence.text in given or len(sentence.text) >= len(given):
        return False  # a quotation, or longer than one
    exact = {item.lower() for item in _EXACT.findall(given)} - question.words
    added = set(tokenize(given)) - set(question.terms)
    kept = len(added & set(tokenize(sentence.text)))
    return (
        exact <= {item.lower() for item in _ITEM.findall(sentence.text)}
        and kept >= KEPT_TERMS * len(added)
        and question.holds_type(sentence.text) is not False
    )


def _reply_schema(numbers: Sequence[int], given: int) -> dict[str, Any]:
    """The reply's form; a sentence longer than the `given` characters would not be used."""
    return {
        "title": "Answer",
        "type": "object",
        "properties": {
            "full_sentence": {
                "type": "string",
                "minLength": 20,
                "maxLength": max(21, min(MAX_SENTENCE_CHARACTERS, given)),
            },
            "texts": {
                "type": "array",
                "items": {"type": "integer", "enum": list(numbers)},
                "minItems": 1,
                "maxItems": MAX_IDS,
            },
        },
        "required": ["full_sentence", "texts"],
        "additionalProperties": False,
    }


def _flat(text: str) -> str:
    return " ".join(text.split())
