"""Measure answers on questions with known answers, beside plain quoting and the plain chain.

python -m graphs.evaluate qa --data dev.jsonl.gz --limit 100 --baseline
python -m graphs.evaluate retrieval --data BEIR_FOLDER --split test
python -m graphs.evaluate thai --data iapp_train.jsonl.gz --data train.jsonl.gz
python -m graphs.evaluate readme results.json
python -m graphs.evaluate chunking --data dev.jsonl.gz --plot study.png
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphs.commandline import new_app, run_app, switches
from graphs.evaluate.chunking_command import GivenChunking, run_chunking
from graphs.evaluate.given import Given, RetrievalGiven, ThaiGiven
from graphs.evaluate.query_given import QueriesGiven

if TYPE_CHECKING:
    from graphs.evaluate.command import Launch

QA_HELP = """Ask the questions of a file through the research graph and score the answers.

The corpus is all paragraphs of the file, or the documents of --docs. The report goes to stdout,
progress to stderr. What was asked is kept: the same command goes on after Ctrl-C.
Exit codes: 0 measured, 2 something to mend, 130 stopped with Ctrl-C."""
CHUNKING_HELP = """Compare ways of cutting documents into passages, by what a search then finds.

recall@5: an answer lies in one of the first five passages. evidence@N: one passage holds the whole
sentence of the answer, in the first N characters that are read. The same questions for all.
Exit codes: 0 measured, 2 something to mend, 130 stopped with Ctrl-C."""
THAI_HELP = """Rank paragraphs of question files (SQuAD layout) for their questions in one language.

The corpus is every paragraph of all files, whatever its language; a question looks for its own.
Otherwise as `retrieval`, with BM25 over what stands between spaces as a contender."""
RETRIEVAL_HELP = """Rank the documents of a corpus with relevance judgements (BEIR layout).

Ours, its two halves alone, LangChain's EnsembleRetriever over the same halves, and BM25 over
plain words, each question put to all in turn. The report goes to stdout, progress to stderr.
What was asked is kept: the same command goes on after Ctrl-C."""
QUERIES_HELP = """Compare ways of planning a search: each option of the query side alone, or joined.

Questions of several hops want every passage they need: all@10. The question alone is always among
the plans, and gains are on it. The report goes to stdout, progress to stderr."""
README_HELP = """Write the tables of RESULTS between the evaluation markers of the README."""

Results = Annotated[list[Path], typer.Argument(help="What `qa --json` printed, or its --out.")]
Readme = Annotated[Path, typer.Option("--readme", help="The file to change.")]
Check = Annotated[bool, typer.Option("--check", help="Change nothing; exit 2 if it would.")]


def main(argv: Sequence[str] | None = None, *, launch: "Launch | None" = None) -> int:
    """Run the command; returns the exit code. `launch` carries out the stages, for tests."""

    def qa(given: Given) -> int:
        from graphs.evaluate.command import run_qa

        return run_qa(given, launch)

    def retrieval(given: RetrievalGiven) -> int:
        from graphs.evaluate.retrieval import run_retrieval

        return run_retrieval(given)

    app = new_app(no_args_is_help=True)
    app.command("qa", help=QA_HELP)(switches(Given, qa))
    app.command("retrieval", help=RETRIEVAL_HELP)(switches(RetrievalGiven, retrieval))

    def thai(given: ThaiGiven) -> int:
        from graphs.evaluate.retrieval import run_thai

        return run_thai(given)

    app.command("thai", help=THAI_HELP)(switches(ThaiGiven, thai))

    app.command("chunking", help=CHUNKING_HELP)(switches(GivenChunking, run_chunking))

    def queries(given: QueriesGiven) -> int:
        from graphs.evaluate.query_side import run_queries

        return run_queries(given)

    for name in ("multihop", "queries"):
        app.command(name, help=QUERIES_HELP)(switches(QueriesGiven, queries))

    @app.command(help=README_HELP)
    def readme(results: Results, readme: Readme = Path("README.md"), check: Check = False) -> None:
        from graphs.evaluate.command import run_readme

        raise typer.Exit(run_readme(results, readme, check=check))

    return run_app(app, "graphs.evaluate", argv)


if __name__ == "__main__":
    sys.exit(main())
