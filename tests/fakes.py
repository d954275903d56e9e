"""Stand-ins shared by tests: scripted, seeded, no models and no network."""

import hashlib
import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from numpy.typing import NDArray
from pydantic import Field

from agents.errors import QuestionError
from agents.notes import (
    Draft,
    DraftSentence,
    EvidenceRef,
    Gathered,
    Intake,
    PassageRef,
    SearchNote,
    Verdict,
    Verified,
)
from agents.result import (
    NOT_IN_DOCUMENTS,
    Citation,
    Nearest,
    ResearchResult,
    SentenceSupport,
)


@dataclass
class ScriptedTeam:
    """A research team that follows a script and notes each call; `log` also goes to a file.

    `enough` and `sound` are consumed one a round and one a verification; their last value stays.
    """

    questions: Sequence[str] = ("where was the stone", "who hid the stone")
    enough: Sequence[bool] = (True,)
    sound: Sequence[bool] = (True,)
    intent: str = "fact"
    delay: float = 0.0
    log: Path | None = None
    calls: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def _note(self, call: str) -> None:
        time.sleep(self.delay)
        with self.lock:
            self.calls.append(call)
            if self.log is not None:
                with self.log.open("a", encoding="utf-8") as file:
                    file.write(call + "\n")

    def _count(self, name: str) -> int:
        return sum(call.split(":")[0] == name for call in self.calls)

    def intake(self, question: str) -> Intake:
        if not question.strip():
            raise QuestionError("the question is empty: write what you want to know")
        self._note("intake")
        return Intake.model_validate({"question": question.strip(), "intent": self.intent})

    def plan(self, intake: Intake, missing: list[str]) -> list[str]:
        self._note("plan")
        return [f"more about {text}" for text in missing] or list(self.questions)

    def search(self, sub_question: str) -> SearchNote:
        self._note(f"search:{sub_question}")
        passage = f"doc:0:{len(sub_question)}"
        return SearchNote(
            sub_question=sub_question,
            passages=[PassageRef(id=passage, score=0.5, scores={"dense": 0.5})],
            evidence=[EvidenceRef(passage_id=passage, start=0, end=9, score=0.9)],
        )

    def gather(self, question: str, notes: list[SearchNote]) -> Gathered:
        at = self._count("gather")
        self._note("gather")
        enough = self.enough[min(at, len(self.enough) - 1)]
        return Gathered(
            evidence=[ref for note in notes for ref in note.evidence],
            nearest=[ref for note in notes for ref in note.passages],
            answerable=0.9 if enough else 0.1,
            enough=enough,
            missing=[] if enough else [f"point {at}"],
        )

    def write(self, question: str, evidence: list[EvidenceRef]) -> Draft:
        self._note("write")
        sentences = [
            DraftSentence(text=f"Fact {i} of the goose.", evidence=[i], composed=True)
            for i in range(1, len(evidence) + 1)
        ]
        return Draft(sentences=sentences, short_answer="in a goose")

    def verify(self, question: str, draft: Draft, evidence: list[EvidenceRef]) -> Verified:
        at = min(self._count("verify"), len(self.sound) - 1)
        self._note("verify")
        verdicts = [Verdict(supported=self.sound[at], score=0.8) for _ in draft.sentences]
        return Verified(draft=draft, verdicts=verdicts)

    def repair(self, question: str, verified: Verified, evidence: list[EvidenceRef]) -> Draft:
        self._note("repair")
        quoted = [s.model_copy(update={"composed": False}) for s in verified.draft.sentences]
        return verified.draft.model_copy(update={"sentences": quoted})

    def finish(
        self,
        question: str,
        verified: Verified | None,
        evidence: list[EvidenceRef],
        nearest: list[PassageRef],
    ) -> ResearchResult:
        self._note("finish")
        if self.intent == "smalltalk":
            return ResearchResult(question=question, answer="I answer from your documents.")
        if verified is None:
            places = [
                Nearest(passage_id=p.id, file="a.txt", start=0, end=9, quote="The goose", score=0.5)
                for p in nearest
            ]
            return ResearchResult(
                question=question, answer=NOT_IN_DOCUMENTS, abstained=True, nearest=places
            )
        return _answered(question, verified, evidence)


def _answered(question: str, verified: Verified, evidence: list[EvidenceRef]) -> ResearchResult:
    cited = [
        Citation(
            id=i, passage_id=ref.passage_id, file="a.txt", line=i, start=0, end=9, quote="The goose"
        )
        for i, ref in enumerate(evidence, 1)
    ]
    support = [
        SentenceSupport(sentence=s.text, citation_ids=s.evidence, score=0.8, composed=s.composed)
        for s in verified.draft.sentences
    ]
    answer = " ".join(f"{s.text} [{s.evidence[0]}]" for s in verified.draft.sentences)
    return ResearchResult(
        question=question,
        answer=answer,
        short_answer=verified.draft.short_answer,
        citations=cited,
        support=support,
    )


class HashEmbeddings(Embeddings):
    """Bag of words by hashing: texts that share words are near, the same text is the same vector.

    Counts the texts it embedded in `embedded`; `delay` seconds pass for each batch.
    """

    def __init__(self, dimension: int = 64, name: str = "hash-1", delay: float = 0.0) -> None:
        self.dimension = dimension
        self.model_hash = name
        self.delay = delay
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        time.sleep(self.delay)
        self.embedded.extend(texts)
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vector(text)

    def _vector(self, text: str) -> list[float]:
        total = [0.0] * self.dimension
        for word in re.findall(r"\w+", text.lower()):
            digest = hashlib.sha256(f"{self.model_hash}:{word}".encode()).digest()
            total[digest[0] % self.dimension] += 1.0
            total[digest[1] % self.dimension] += 0.5 if digest[2] % 2 else -0.5
        length = math.sqrt(sum(value * value for value in total)) or 1.0
        return [value / length for value in total]


class WordEmbeddings(Embeddings):
    """Each word has an axis of its own, so that cosines can be worked out by hand.

    A text's vector is the unit mean of its words'; `tokens_and_vectors` gives each word's, as
    `llm_core.LocalEmbeddings` does.
    """

    def __init__(self, dimension: int = 256) -> None:
        self.dimension = dimension
        self.model_hash = "words-1"
        self.axes: dict[str, int] = {}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        mean = self.tokens_and_vectors(text)[1].sum(axis=0)
        return [float(value) for value in mean / max(float(np.linalg.norm(mean)), 1e-9)]

    def tokens_and_vectors(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found = list(re.finditer(r"\w+", text))
        vectors = np.zeros((len(found), self.dimension), dtype=np.float32)
        for row, match in enumerate(found):
            vectors[row, self.axes.setdefault(match[0].lower(), len(self.axes))] = 1.0
        spans = np.asarray([match.span() for match in found], dtype=np.int64).reshape(-1, 2)
        return spans, vectors


class ScriptedChat(BaseChatModel):
    """Gives `replies` in turn, and notes the messages it was asked with; tools can be bound."""

    replies: list[AIMessage] = Field(default_factory=list)
    asked: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=self.replies.pop(0))])


class ScoringChat(ScriptedChat):
    """Also tells how likely a reply is: `log_probability(prompt, reply)`; a word is a token."""

    log_probability: Callable[[str, str], float]

    def score(self, prompt: Any, continuations: Sequence[str], **kwargs: Any) -> list[float]:
        text = "\n".join(str(message.content) for message in prompt)
        return [self.log_probability(text, reply) for reply in continuations]

    def get_num_tokens(self, text: str) -> int:
        return len(text.split())
