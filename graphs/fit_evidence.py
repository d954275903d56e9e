"""Fit the weights that rank evidence and judge answerability, on questions in SQuAD layout.

    python -m graphs.fit_evidence en=train.jsonl.gz th=iapp_train.jsonl.gz --out evidence.json

Sentences: a linear score, listwise softmax loss (the sentences that hold an answer against the
others of the passages found). Answerability: logistic regression; a question asked of its own
documents against the same kind of question asked of other documents and, at a lower weight,
questions written to be unanswerable.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    import numpy as np

    from agents.evidence import Scored
    from graphs.squad import Example
    from retrievers.pipeline import Library

PASSAGES: Final = 8
ADVERSARIAL_WEIGHT: Final = 0.25


@dataclass(frozen=True)
class Sample:
    """A question's sentences, which of them hold an answer, and how it was asked."""

    scored: "Scored"
    holds: list[bool]
    kind: str  # "own", "other" (documents), "adversarial"


def collect(examples: "Sequence[Example]", limit: int, seed: int) -> list[Sample]:
    """Ask questions of two halves of the titles, each over its own half and the other one."""
    import random

    from agents.evidence import EvidenceFeatures
    from agents.token_vectors import TokenEncoder
    from graphs.squad import paragraph_library
    from llm_core.embeddings import LocalEmbeddings

    rng = random.Random(seed)
    titles = sorted({example.title for example in examples})
    rng.shuffle(titles)
    halves = [set(titles[::2]), set(titles[1::2])]
    embeddings = LocalEmbeddings()
    encoder = TokenEncoder(embeddings, keep=100_000)
    sides = [[e for e in examples if e.title in half] for half in halves]
    libraries = [paragraph_library(side, embeddings) for side in sides]
    measures = [EvidenceFeatures(library, encoder) for library in libraries]
    samples: list[Sample] = []
    asked = rng.sample(list(examples), min(limit, len(examples)))
    for count, example in enumerate(asked):
        own = int(example.title not in halves[0])
        print(f"\r{count + 1}/{len(asked)} questions", end="", file=sys.stderr)
        kinds = ["own" if example.answers else "adversarial"] + ["other"] * bool(example.answers)
        for kind in kinds:
            side = 1 - own if kind == "other" else own
            samples.append(_sample(example, kind, libraries[side], measures[side]))
    print(file=sys.stderr)
    return samples


def _sample(example: "Example", kind: str, library: "Library", features: Any) -> Sample:
    from agents.question import Question
    from graphs.qa_metrics import contains_answer

    passages = library.search([example.question], PASSAGES)
    scored = features.measure(Question(example.question), passages)
    holds = [
        kind == "own"
        and passages[at].metadata["source"] == example.source
        and contains_answer(passages[at].page_content[start:end], example.answers)
        for at, start, end in scored.spans
    ]
    return Sample(scored, holds, kind)


def fit_sentences(
    samples: Sequence[Sample], l2: float = 1e-3, steps: int = 300
) -> "np.ndarray[Any, Any]":
    """Weights (F,) on raw features that put sentences holding an answer first."""
    import torch

    lists = [s for s in samples if s.kind == "own" and any(s.holds) and not all(s.holds)]
    rows = torch.cat([torch.from_numpy(s.scored.rows) for s in lists])
    mean, spread = rows.mean(0), rows.std(0) + 1e-6
    longest = max(len(s.holds) for s in lists)
    inputs = torch.zeros(len(lists), longest, rows.shape[1], dtype=torch.float64)
    outside = torch.full((len(lists), longest), -1e9, dtype=torch.float64)
    wrong = torch.full((len(lists), longest), -1e9, dtype=torch.float64)
    for at, sample in enumerate(lists):
        size = len(sample.holds)
        inputs[at, :size] = (torch.from_numpy(sample.scored.rows) - mean) / spread
        outside[at, :size] = 0
        wrong[at, :size] = torch.where(torch.tensor(sample.holds), 0.0, -1e9).double()
    weights = torch.zeros(rows.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(steps):
        log_belief = torch.log_softmax(inputs @ weights + outside, dim=-1)
        loss = -torch.logsumexp(log_belief + wrong, dim=-1).mean() + l2 * weights.square().sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    return (weights.detach() / spread).numpy()


def fit_answerable(
    samples: Sequence[Sample],
    weights: "np.ndarray[Any, Any]",  # (F,)
    l2: float = 1e-3,
) -> tuple[dict[str, float], float]:
    """Logistic weights on raw answerability facts, and the bias."""
    import torch

    from agents.ranking import ANSWERABLE, answerability_facts

    found = [(s, answerability_facts(s.scored, s.scored.rows @ weights)) for s in samples]
    used = [(s, [facts[name] for name in ANSWERABLE]) for s, facts in found if facts]
    rows = torch.tensor([row for _, row in used], dtype=torch.float64)
    target = torch.tensor([s.kind == "own" for s, _ in used], dtype=torch.float64)
    weight = torch.tensor([ADVERSARIAL_WEIGHT if s.kind == "adversarial" else 1.0 for s, _ in used])
    mean, spread = rows.mean(0), rows.std(0) + 1e-6
    inputs = (rows - mean) / spread
    free = torch.zeros(inputs.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([free], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimizer.zero_grad()
        value = (
            torch.nn.functional.binary_cross_entropy_with_logits(
                inputs @ free[:-1] + free[-1], target, weight=weight.double()
            )
            + l2 * free[:-1].square().sum()
        )
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    slope = free.detach()[:-1] / spread
    bias = float(free.detach()[-1] - (slope * mean).sum())
    return dict(zip(ANSWERABLE, slope.tolist(), strict=True)), bias


def fit_language(path: Path, limit: int, seed: int) -> dict[str, Any]:
    """The entry of one language: weights, and what they were fitted on."""
    from agents.evidence import FEATURES
    from graphs.squad import read_examples

    samples = collect(read_examples(path), limit, seed)
    weights = fit_sentences(samples)
    answerable, bias = fit_answerable(samples, weights)
    return {
        "evidence": {n: round(float(w), 5) for n, w in zip(FEATURES, weights, strict=True)},
        "answerable": {name: round(value, 5) for name, value in answerable.items()},
        "bias": round(bias, 5),
        "fitted_on": {"file": path.name, "questions": limit, "seed": seed},
    }


def fit(
    data: Annotated[list[str], typer.Argument(help="LANGUAGE=FILE, questions in SQuAD layout")],
    out: Annotated[Path, typer.Option(help="where the weights go")],
    limit: Annotated[int, typer.Option(help="questions a language")] = 2500,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Fit the weights of evidence ranking and answerability; other languages in OUT stay."""
    held = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"weights": {}}
    for pair in data:
        language, _, name = pair.partition("=")
        if not name or not Path(name).is_file():
            print(f"error: {pair!r} is not LANGUAGE=FILE with a file that exists", file=sys.stderr)
            raise typer.Exit(2)
        held["weights"][language] = fit_language(Path(name), limit, seed)
    text = json.dumps(held, indent=1, sort_keys=True) + "\n"
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(fit)
