"""Gatherer: join the searches, and say whether there is enough to answer from."""

from collections.abc import Sequence
from typing import Final

from agents.notes import EvidenceRef, Gathered, PassageRef, SearchNote
from agents.ranking import overlap
from retrievers.query.split import bare_words

# Probability of being answerable from which the team answers. On development questions asked of
# their own documents it refuses one in twenty-five; asked of unrelated documents, 49 in 50.
THRESHOLD: Final = 0.25
NEAREST: Final = 3
PART: Final = "part"  # name under which evidence keeps the number of its sub-question


class Gatherer:
    """Merges notes by sub-question."""

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold

    def gather(self, notes: Sequence[SearchNote]) -> Gathered:
        """The evidence of every sub-question that has any, best first, and what is missing."""
        by_text = {note.sub_question: note for note in notes}
        again = {bare_words(text) for text in by_text if bare_words(text) != text}
        parts = [note for text, note in by_text.items() if text not in again]
        found: list[SearchNote] = []
        missing: list[str] = []
        for note in parts:
            bare = bare_words(note.sub_question)
            best = max(note, by_text.get(bare, note), key=lambda n: n.answerable)
            if best.answerable >= self.threshold:
                found.append(best)
            elif bare not in by_text:
                missing.append(note.sub_question)
        return Gathered(
            evidence=_merge(found),
            nearest=_nearest(notes),
            answerable=max((note.answerable for note in notes), default=0.0),
            enough=bool(found) and not missing,
            missing=missing,
        )


def _merge(notes: Sequence[SearchNote]) -> list[EvidenceRef]:
    """Evidence of the notes in turn, best first, no sentence twice."""
    merged: list[EvidenceRef] = []
    longest = max((len(note.evidence) for note in notes), default=0)
    for rank in range(longest):
        for part, note in enumerate(notes):
            if rank < len(note.evidence):
                evidence = note.evidence[rank]
                marked = {**evidence.features, PART: float(part)}
                if not any(overlap(evidence, held) for held in merged):
                    merged.append(evidence.model_copy(update={"features": marked}))
    return merged


def _nearest(notes: Sequence[SearchNote]) -> list[PassageRef]:
    passages: dict[str, PassageRef] = {}
    for ref in (ref for note in notes for ref in note.passages):
        if ref.id not in passages or ref.score > passages[ref.id].score:
            passages[ref.id] = ref
    ranked = sorted(passages.values(), key=lambda ref: (-ref.score, ref.id))
    return ranked[:NEAREST]
