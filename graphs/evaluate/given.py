"""What `python -m graphs.evaluate qa` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from graphs.commandline import AsJson, BaseUrl, Quiet

Data = Annotated[
    Path, typer.Option("--data", help="Questions in SQuAD layout, one JSON object a line (or .gz).")
]
Limit = Annotated[
    int | None, typer.Option("--limit", help="How many questions; half of them unanswerable.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the sample and of the intervals.")]
Baseline = Annotated[
    bool, typer.Option("--baseline", help="Measure the plain LangChain chain too.")
]
Docs = Annotated[
    list[Path] | None,
    typer.Option("--docs", help="Ask these documents instead; may be given more than once."),
]
Answers = Annotated[
    bool | None,
    typer.Option(
        "--answers-apply/--answers-foreign",
        help="Whether the documents of --docs hold the answers [default: foreign].",
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="As for graphs.research.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="JSON file for the report and every question's row.")
]
Work = Annotated[
    Path | None, typer.Option("--work", help="Folder for the corpus, its index and the rows.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ask again what was asked before.")]


@dataclass(frozen=True)
class Given:
    """The switches as they were given; None is the default of the settings."""

    data: Data
    limit: Limit = None
    seed: Seed = 0
    as_json: AsJson = False
    baseline: Baseline = False
    docs: Docs = None
    answers_apply: Answers = None
    model: Model = None
    base_url: BaseUrl = None
    out: Out = None
    work: Work = None
    fresh: Fresh = False
    quiet: Quiet = False


Beir = Annotated[
    Path, typer.Option("--data", help="Folder with corpus.jsonl, queries.jsonl and qrels/.")
]
Split = Annotated[str, typer.Option("--split", help="The judgements: qrels/SPLIT.tsv.")]
Asked = Annotated[
    int | None, typer.Option("--limit", help="How many questions, drawn at random [default: all].")
]
Systems = Annotated[
    str | None,
    typer.Option("--systems", help="Names with commas between [default: all but the ablation]."),
]
Ablation = Annotated[
    bool, typer.Option("--ablation", help="Measure our search with one stage more each, too.")
]
Cache = Annotated[
    Path | None, typer.Option("--cache", help="Folder that keeps the vectors of documents.")
]
Plot = Annotated[
    Path | None, typer.Option("--plot", help="File for a picture of it: .png, .svg or .pdf.")
]


@dataclass(frozen=True)
class RetrievalGiven:
    """The switches of `retrieval` as they were given; None is the default of the settings."""

    data: Beir
    split: Split = "test"
    limit: Asked = None
    seed: Seed = 0
    as_json: AsJson = False
    systems: Systems = None
    ablation: Ablation = False
    plot: Plot = None
    cache: Cache = None
    work: Work = None
    fresh: Fresh = False
    quiet: Quiet = False


Paragraphs = Annotated[
    list[Path],
    typer.Option(
        "--data", help="Questions in SQuAD layout (JSONL or .gz); all paragraphs are the corpus."
    ),
]
AskedFiles = Annotated[
    list[Path] | None,
    typer.Option("--ask", help="Ask the questions of these files alone [default: all of them]."),
]
Language = Annotated[str, typer.Option("--language", help="Of the questions asked.")]


@dataclass(frozen=True)
class ThaiGiven:
    """The switches of `thai` as they were given; None is the default of the settings."""

    data: Paragraphs
    ask: AskedFiles = None
    language: Language = "th"
    limit: Asked = None
    seed: Seed = 0
    as_json: AsJson = False
    systems: Systems = None
    ablation: Ablation = False
    plot: Plot = None
    cache: Cache = None
    work: Work = None
    fresh: Fresh = False
    quiet: Quiet = False
