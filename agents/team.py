"""The research team: the roles behind one object, as a graph (or any other host) calls them."""

from collections.abc import Sequence

from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from agents.evidence import EvidenceFeatures
from agents.gatherer import THRESHOLD, Gatherer
from agents.intake import take_in
from agents.library import Library
from agents.notes import (
    Draft,
    DraftSentence,
    EvidenceRef,
    Gathered,
    Intake,
    PassageRef,
    SearchNote,
    Verified,
)
from agents.planner import Planner
from agents.profile import Profile, profile_for
from agents.question import Question
from agents.ranking import EvidenceRanker
from agents.reporter import Reporter
from agents.researcher import Researcher
from agents.result import ResearchResult
from agents.verifier import Verifier
from agents.writer import Writer
from retrievers.cutoff import RelevanceCutoff
from retrievers.token_vectors import TokenEncoder


class ResearchTeam:
    """Planner, researcher, gatherer, writer, verifier and reporter over one library."""

    def __init__(
        self,
        model: BaseChatModel,
        library: Library,
        embeddings: Embeddings,
        *,
        profile: Profile | None = None,
        threshold: float = THRESHOLD,
        cutoff: BaseDocumentCompressor | None = None,
        explain: bool = False,
        encoder: TokenEncoder | None = None,
    ) -> None:
        """`encoder` is one that the search uses too, so that no passage is encoded twice."""
        profile = profile or profile_for(model)
        encoder = encoder or TokenEncoder(embeddings)
        self._library = library
        self._planner = Planner(model, profile)
        ranker = EvidenceRanker(EvidenceFeatures(library, encoder))
        self._researcher = Researcher(library, ranker, cutoff or RelevanceCutoff(), explain=explain)
        self._gatherer = Gatherer(threshold)
        self._writer = Writer(model, profile)
        self._verifier = Verifier(model, encoder)
        self._reporter = Reporter(library)

    def intake(self, question: str) -> Intake:
        """Normalise the question; QuestionError where it cannot be worked on."""
        return take_in(question)

    def plan(self, intake: Intake, missing: list[str]) -> list[str]:
        """Sub-questions, or other wordings of those that are `missing`."""
        return self._planner.plan(intake, missing)

    def search(self, sub_question: str) -> SearchNote:
        """Passages and evidence sentences for one sub-question."""
        return self._researcher.search(sub_question)

    def gather(self, question: str, notes: list[SearchNote]) -> Gathered:  # noqa: ARG002 (graphs name it)
        """Join the notes and say whether they are enough."""
        return self._gatherer.gather(notes)

    def write(self, question: str, evidence: list[EvidenceRef]) -> Draft:
        """Draft an answer from the evidence."""
        return self._writer.write(Question(question), evidence, self._texts(evidence))

    def verify(self, question: str, draft: Draft, evidence: list[EvidenceRef]) -> Verified:
        """Check every sentence of a draft against what it cites."""
        asked, texts = Question(question), self._texts(evidence)
        verdicts = [
            self._verifier.check(s.text, [texts[n] for n in s.evidence if n in texts], asked)
            for s in draft.sentences
        ]
        return Verified(draft=draft, verdicts=verdicts)

    def repair(self, question: str, verified: Verified, evidence: list[EvidenceRef]) -> Draft:  # noqa: ARG002 (graphs name it)
        """Replace each failing sentence by the evidence it cites, or drop it."""
        texts = self._texts(evidence)
        kept: list[DraftSentence] = []
        pairs = list(zip(verified.draft.sentences, verified.verdicts, strict=True))
        quoted = {n for s, v in pairs if v.supported and not s.composed for n in s.evidence}
        for sentence, verdict in pairs:
            if verdict.supported:
                kept.append(sentence)
                continue
            for number in sentence.evidence:
                if number in texts and number not in quoted:
                    quoted.add(number)
                    text = " ".join(texts[number].split())
                    kept.append(DraftSentence(text=text, evidence=[number]))
        return verified.draft.model_copy(update={"sentences": kept})

    def finish(
        self,
        question: str,
        verified: Verified | None,
        evidence: list[EvidenceRef],
        nearest: list[PassageRef],
    ) -> ResearchResult:
        """The result: an answer whose every sentence cites, or the honest refusal."""
        if verified is not None and verified.draft.sentences and verified.sound:
            return self._reporter.answer(question, verified, evidence)
        if take_in(question).intent == "smalltalk":
            return self._reporter.small_talk(question)
        return self._reporter.refuse(question, nearest)

    def _texts(self, evidence: Sequence[EvidenceRef]) -> dict[int, str]:
        """The words of each evidence sentence, by its number from 1."""
        ids = list(dict.fromkeys(ref.passage_id for ref in evidence))
        passages = {passage.id: passage for passage in self._library.get(ids)}
        texts: dict[int, str] = {}
        for number, ref in enumerate(evidence, 1):
            passage = passages.get(ref.passage_id)
            if passage is not None:
                offset = int(passage.metadata["start"])
                texts[number] = passage.page_content[ref.start - offset : ref.end - offset]
        return texts
