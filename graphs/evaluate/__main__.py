"""Measure answers on questions with known answers, beside plain quoting and the plain chain.

python -m graphs.evaluate qa --data dev.jsonl.gz --limit 100 --baseline
python -m graphs.evaluate readme results.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from graphs.evaluate.command import Launch

QA_HELP = """Ask the questions of a file through the research graph and score the answers.

The corpus is all paragraphs of the file, or the documents of --docs. The report goes to stdout,
progress to stderr. What was asked is kept: the same command goes on after Ctrl-C.
Exit codes: 0 measured, 2 something to mend, 130 stopped with Ctrl-C."""
README_HELP = """Write the tables of RESULTS between the evaluation markers of the README."""

Data = Annotated[
    Path, typer.Option("--data", help="Questions in SQuAD layout, one JSON object a line (or .gz).")
]
Limit = Annotated[
    int | None, typer.Option("--limit", help="How many questions; half of them unanswerable.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the sample and of the intervals.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
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
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="Address of an OpenAI-compatible server.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="JSON file for the report and every question's row.")
]
Work = Annotated[
    Path | None, typer.Option("--work", help="Folder for the corpus, its index and the rows.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ask again what was asked before.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Results = Annotated[list[Path], typer.Argument(help="What `qa --json` printed, or its --out.")]
Readme = Annotated[Path, typer.Option("--readme", help="The file to change.")]
Check = Annotated[bool, typer.Option("--check", help="Change nothing; exit 2 if it would.")]


def main(argv: Sequence[str] | None = None, *, launch: "Launch | None" = None) -> int:
    """Run the command; returns the exit code. `launch` carries out the stages, for tests."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        no_args_is_help=True,
    )

    @app.command(help=QA_HELP)
    def qa(
        data: Data,
        limit: Limit = None,
        seed: Seed = 0,
        as_json: AsJson = False,
        baseline: Baseline = False,
        docs: Docs = None,
        answers_apply: Answers = None,
        model: Model = None,
        base_url: BaseUrl = None,
        out: Out = None,
        work: Work = None,
        fresh: Fresh = False,
        quiet: Quiet = False,
    ) -> None:
        from graphs.evaluate.command import Given, run_qa

        given = Given(
            data=data,
            limit=limit,
            seed=seed,
            as_json=as_json,
            baseline=baseline,
            docs=tuple(docs or ()),
            answers_apply=answers_apply,
            model=model,
            base_url=base_url,
            out=out,
            work=work,
            fresh=fresh,
            quiet=quiet,
        )
        raise typer.Exit(run_qa(given, launch))

    @app.command(help=README_HELP)
    def readme(results: Results, readme: Readme = Path("README.md"), check: Check = False) -> None:
        from graphs.evaluate.command import run_readme

        raise typer.Exit(run_readme(results, readme, check=check))

    try:
        app(args=list(sys.argv[1:] if argv is None else argv), prog_name="graphs.evaluate")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
