"""How passages should be cut: recall and answers held, by strategy, size and overlap.

    python -m graphs.evaluate chunking --data dev.jsonl.gz --sizes 300,600,900 --plot study.png

The paragraphs of an article (or of all with one title) are joined to one document, which is cut,
indexed and asked. A question's evidence is the sentence that holds its answer. Passages of
different sizes are compared where the same number of characters is read.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graphs.console import Progress
from graphs.errors import UserError
from graphs.squad import Example
from retrievers import sentences
from retrievers.documents import LoadedDocument, Page

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    from retrievers.chunking.token import TokenSpans
    from retrievers.pipeline import HybridRetriever

K: Final = 5
BUDGETS: Final = (1500, 3000)  # characters that are read
_FETCHED: Final = 40  # passages; enough small ones to fill the largest budget


@dataclass(frozen=True)
class Asked:
    """A question and where its evidence stands: characters [start, end) of a document."""

    question: str
    source: str
    answer: tuple[int, int]
    evidence: tuple[int, int]  # the sentence, or sentences, that hold the answer


@dataclass(frozen=True)
class Setting:
    """One way of cutting."""

    strategy: str
    size: int  # characters
    overlap: float  # share of a passage


def articles(examples: Sequence[Example]) -> tuple[list[LoadedDocument], list[Asked]]:
    """One document a title, its paragraphs in the order they are met; questions with an answer."""
    texts: dict[str, str] = {}
    places: dict[tuple[str, str], int] = {}
    for example in examples:
        key = (example.title, example.context)
        if example.context and key not in places:
            before = texts.get(example.title)
            places[key] = 0 if before is None else len(before) + 2
            texts[example.title] = example.context if before is None else f"{before}\n\n{key[1]}"
    documents = [
        LoadedDocument(_name(title), _digest(text), [Page(None, text)], title)
        for title, text in texts.items()
    ]
    asked = []
    for example in examples:
        at = example.context.find(example.answers[0]) if example.answers else -1
        if at >= 0:
            asked.append(_asked(example, at, places[example.title, example.context]))
    return documents, asked


def _asked(example: Example, at: int, offset: int) -> Asked:
    end = at + len(example.answers[0])
    held = [s for s in sentences.split(example.context) if s[0] < end and s[1] > at] or [(at, end)]
    first, last = min(held[0][0], at), max(held[-1][1], end)
    return Asked(
        example.question,
        _name(example.title),
        (offset + at, offset + end),
        (offset + first, offset + last),
    )


def _name(title: str) -> str:
    return title or "untitled"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def settings(
    strategies: Sequence[str], sizes: Sequence[int], overlaps: Sequence[float]
) -> list[Setting]:
    """Every combination, strategy by strategy."""
    return [Setting(*each) for each in itertools.product(strategies, sizes, overlaps)]


def study(
    examples: Sequence[Example],
    asked_limit: int | None,
    wanted: Sequence[Setting],
    embeddings: "Embeddings",
    *,
    tokens: "TokenSpans",
    seed: int,
    progress: Progress | None = None,
) -> Iterator[dict[str, Any]]:
    """Figures of each setting, one after the other, all on the same questions.

    Raises UserError where no question has its answer in its paragraph.
    """
    import random

    documents, asked = articles(examples)
    if not asked:
        raise UserError("no question has an answer that stands in its paragraph: nothing to study")
    if asked_limit is not None and asked_limit < len(asked):
        asked = random.Random(seed).sample(asked, asked_limit)
    for number, setting in enumerate(wanted):
        if progress is not None:
            progress("settings", number, len(wanted))
        yield _measure(setting, documents, asked, embeddings, tokens, seed)
    if progress is not None:
        progress("settings", len(wanted), len(wanted))


def _measure(
    setting: Setting,
    documents: Sequence[LoadedDocument],
    asked: Sequence[Asked],
    embeddings: "Embeddings",
    tokens: "TokenSpans",
    seed: int,
) -> dict[str, Any]:
    from graphs.evaluate.summary import bootstrap, share
    from retrievers.chunking.parents import ParentChildChunker
    from retrievers.chunking.strategies import make_chunker
    from retrievers.pipeline import HybridRetriever

    chunker = make_chunker(setting.strategy, setting.size, setting.overlap, tokens)
    read: dict[str, Document] = {}  # parents, by id
    passages = []
    for document in documents:
        if isinstance(chunker, ParentChildChunker):
            parents, children = chunker.pairs(document)
            read.update({parent.id or "": parent for parent in parents})
        else:
            children = chunker(document)
        passages += children
    retriever = HybridRetriever.from_documents(passages, embeddings)
    rows = [_row(question, _found(question, retriever, read)) for question in asked]
    names = [f"recall@{K}", *(f"evidence@{budget}" for budget in BUDGETS), "answer@1"]
    columns = {name: [(row[at], 1.0) for row in rows] for at, name in enumerate(names)}
    return {
        "strategy": setting.strategy,
        "size": setting.size,
        "overlap": setting.overlap,
        "questions": len(asked),
        "passages": len(passages),
        "characters": round(sum(len(p.page_content) for p in passages) / len(passages)),
        **{name: share(parts) for name, parts in columns.items()},
        "intervals": {name: bootstrap(parts, seed) for name, parts in columns.items()},
    }


def _found(
    asked: Asked, retriever: "HybridRetriever", parents: "dict[str, Document]"
) -> "list[Document]":
    """What is read for a question, best first: the passages found, or their parents."""
    from retrievers.chunking.parents import PARENT

    found = retriever.search_many([asked.question], _FETCHED)
    if not parents:
        return found
    return [parents[name] for name in dict.fromkeys(p.metadata[PARENT] for p in found)]


def _row(asked: Asked, found: "Sequence[Document]") -> list[float]:
    """Answer in one of the first K; evidence whole within each budget; answer in the first."""
    answered = [_holds(passage, asked.source, asked.answer) for passage in found]
    within = [float(_read_whole(asked, found, budget)) for budget in BUDGETS]
    return [float(any(answered[:K])), *within, float(any(answered[:1]))]


def _read_whole(asked: Asked, found: "Sequence[Document]", budget: int) -> bool:
    """Whether one passage holds all evidence in what is read of it before the budget ends."""
    for passage in found:
        length = min(len(passage.page_content), budget)
        if _holds(passage, asked.source, asked.evidence, length):
            return True
        budget -= length
    return False


def _holds(
    passage: "Document", source: str, span: tuple[int, int], length: int | None = None
) -> bool:
    """Whether `span` of a document lies in a passage, or in its first `length` characters."""
    at = passage.metadata
    end = at["end"] if length is None else at["start"] + length
    return bool(at["source"] == source and at["start"] <= span[0] and span[1] <= end)


def plot(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Two panels over the size of a passage: recall, and evidence within the larger budget.

    Raises UserError where matplotlib is missing or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot needs matplotlib: pip install 'deerstalker[evaluate]'") from error

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, metric in zip(
        figure.subplots(1, 2), (f"recall@{K}", f"evidence@{BUDGETS[-1]}"), strict=True
    ):
        lines: dict[tuple[str, float], list[tuple[int, float]]] = {}
        for row in rows:
            name = (row["strategy"], row["overlap"])
            lines.setdefault(name, []).append((row["characters"], row[metric]))
        for (strategy, overlap), points in lines.items():
            xs, ys = zip(*sorted(points), strict=True)
            axes.plot(xs, ys, marker="o", label=f"{strategy}, overlap {overlap:.0%}")
        axes.set_xlabel("mean characters of a passage")
        axes.set_title(metric)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {file} ({error}): give another --plot") from error
