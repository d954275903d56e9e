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

from graphs.commandline import new_app, run_app
from graphs.errors import EXPECTED_ERRORS, UserError

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings

    from agents.evidence import EvidenceFeatures, Scored
    from graphs.console import Progress
    from graphs.squad import Example
    from retrievers.pipeline import Library

HELP = """Fit the weights of evidence ranking and answerability; other languages in OUT stay.

Progress goes to stderr where it is a terminal. Exit codes: 0 fitted, 2 something to mend."""
PASSAGES: Final = 8
ADVERSARIAL_WEIGHT: Final = 0.25

Data = Annotated[list[str], typer.Argument(help="LANGUAGE=FILE, questions in SQuAD layout.")]
Out = Annotated[Path, typer.Option("--out", help="JSON file for the weights.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many questions a language.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the sample and of the halves.")]


@dataclass(frozen=True)
class Sample:
    """A question's sentences, which of them hold an answer, and how it was asked."""

    scored: "Scored"
    holds: list[bool]
    kind: str  # "own", "other" (documents), "adversarial"


def collect(
    examples: "Sequence[Example]",
    embeddings: "Embeddings",
    limit: int,
    seed: int,
    progress: "Progress",
) -> list[Sample]:
    """Ask questions of two halves of the titles, each over its own half and the other one."""
    import random

    from agents.evidence import EvidenceFeatures
    from graphs.squad import paragraph_library
    from retrievers.token_vectors import TokenEncoder

    rng = random.Random(seed)
    titles = sorted({example.title for example in examples})
    rng.shuffle(titles)
    halves = [set(titles[::2]), set(titles[1::2])]
    encoder = TokenEncoder(embeddings, keep=100_000)
    sides = [[e for e in examples if e.title in half] for half in halves]
    libraries = [paragraph_library(side, embeddings) for side in sides]
    measures = [EvidenceFeatures(library, encoder) for library in libraries]
    samples: list[Sample] = []
    asked = rng.sample(list(examples), min(limit, len(examples)))
    for count, example in enumerate(asked, 1):
        own = int(example.title not in halves[0])
        kinds = ["own" if example.answers else "adversarial"] + ["other"] * bool(example.answers)
        for kind in kinds:
            side = 1 - own if kind == "other" else own
            samples.append(_sample(example, kind, libraries[side], measures[side]))
        progress("questions", count, len(asked))
    return samples


def _sample(
    example: "Example", kind: str, library: "Library", features: "EvidenceFeatures"
) -> Sample:
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


def _ranks(sample: Sample) -> bool:
    """Whether a sample tells sentences that hold an answer from sentences that do not."""
    return sample.kind == "own" and any(sample.holds) and not all(sample.holds)


def fit_sentences(
    samples: Sequence[Sample], l2: float = 1e-3, steps: int = 300
) -> "np.ndarray[Any, Any]":
    """Weights (F,) on raw features that put sentences holding an answer first.

    At least one sample must be asked of its own documents and hold an answer in some sentences.
    """
    import torch

    lists = [s for s in samples if _ranks(s)]
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


def fit_language(
    path: Path, embeddings: "Embeddings", limit: int, seed: int, progress: "Progress"
) -> dict[str, Any]:
    """The entry of one language: weights, and what they were fitted on.

    Raises:
        UserError: the file is not in SQuAD layout, or its questions do not tell enough.
    """
    from agents.evidence import FEATURES
    from graphs.squad import read_examples

    examples = read_examples(path)
    if len({example.title for example in examples}) < 2:
        raise UserError(f"{path} has questions on fewer than two titles: add some on another")
    samples = collect(examples, embeddings, limit, seed, progress)
    if not any(_ranks(sample) for sample in samples):
        raise UserError(f"no sentence found for {path} answers a question: give more questions")
    weights = fit_sentences(samples)
    answerable, bias = fit_answerable(samples, weights)
    asked = min(limit, len(examples))
    return {
        "evidence": {n: round(float(w), 5) for n, w in zip(FEATURES, weights, strict=True)},
        "answerable": {name: round(value, 5) for name, value in answerable.items()},
        "bias": round(bias, 5),
        "fitted_on": {"file": path.name, "questions": asked, "seed": seed},
    }


def fit(
    data: Sequence[str], out: Path, limit: int, seed: int, embeddings: "Embeddings | None" = None
) -> None:
    """Fit every LANGUAGE=FILE of `data` and write `out`; nothing is written where one fails.

    The default embeddings are those that a research run uses.

    Raises:
        UserError: a pair, a file or `out` cannot be used.
    """
    from graphs.evaluate.progress import progress_bar
    from llm_core.embeddings import LocalEmbeddings

    pairs = [_pair(text) for text in data]
    held = _held(out)
    embeddings = embeddings or LocalEmbeddings()
    with progress_bar(sys.stderr, quiet=not sys.stderr.isatty()) as progress:
        for language, path in pairs:

            def show(stage: str, done: int, total: int, of: str = language) -> None:
                progress(f"{of} {stage}", done, total)

            held["weights"][language] = fit_language(path, embeddings, limit, seed, show)
    try:
        out.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out} ({error.strerror}): give another --out") from error


def _pair(text: str) -> tuple[str, Path]:
    language, _, name = text.partition("=")
    if not language or not name or not Path(name).is_file():
        raise UserError(f"{text!r} is not LANGUAGE=FILE with a file that exists")
    return language, Path(name)


def _held(out: Path) -> dict[str, Any]:
    """What `out` holds already; said before an hour's work where it cannot be kept there."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UserError(f"--out {out} is no file in a folder that exists")
    if not out.exists():
        return {"weights": {}}
    try:
        held = json.loads(out.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read --out {out} ({error}): move it away") from error
    if not isinstance(held, dict) or not isinstance(held.get("weights"), dict):
        raise UserError(f"--out {out} holds no weights by language: move it away")
    return held


def main(argv: Sequence[str] | None = None, *, embeddings: "Embeddings | None" = None) -> int:
    """Run the command; returns the exit code. `embeddings` are used instead of the default ones."""
    app = new_app()

    @app.command(help=HELP)
    def fit_evidence(data: Data, out: Out, limit: Limit = 2500, seed: Seed = 0) -> None:
        try:
            fit(data, out, limit, seed, embeddings)
        except EXPECTED_ERRORS as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(2) from error

    return run_app(app, "graphs.fit_evidence", argv)


if __name__ == "__main__":
    sys.exit(main())
