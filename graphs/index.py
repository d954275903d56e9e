"""Build, update, list, show, export and delete the indexes that questions are answered from.

python -m graphs.index build --docs ~/papers
python -m graphs.index list
python -m graphs.index delete NAME --document notes/old.txt
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from graphs import index_given as given_
from graphs.commandline import new_app, run_app, switches

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

BUILD_HELP = """Make an index of the documents, or bring it up to date.

Without --name or --index it is the one that a question over the same --docs uses. What is done is
kept: the same command goes on after Ctrl-C or a kill."""
UPDATE_HELP = """Bring indexes up to date with the files they were made from."""
LIST_HELP = """The indexes in your data folder, or in FOLDER, with what each holds."""
SHOW_HELP = """What an index holds, and which files were left out and why."""
EXPORT_HELP = """Write the passages of an index with their vectors; nothing is embedded again.

faiss and chroma are stores that LangChain opens; jsonl has one passage a line."""
DELETE_HELP = """Delete an index, or with --document files of it, leaving none of their text.

A deleted file that is still in its folder stays out until `update --restore`. Your documents are
never touched."""


def main(
    argv: Sequence[str] | None = None, *, embeddings: "Callable[[], Embeddings] | None" = None
) -> int:
    """Run the command; returns the exit code. `embeddings` makes the model, for tests."""

    def run(given: given_.IndexGiven) -> int:
        from graphs.index_command import run_index

        return run_index(given, embeddings)

    app = new_app(no_args_is_help=True)
    app.command("build", help=BUILD_HELP)(switches(given_.BuildGiven, run))
    app.command("update", help=UPDATE_HELP)(switches(given_.UpdateGiven, run))
    app.command("list", help=LIST_HELP)(switches(given_.ListGiven, run))
    app.command("show", help=SHOW_HELP)(switches(given_.ShowGiven, run))
    app.command("export", help=EXPORT_HELP)(switches(given_.ExportGiven, run))
    app.command("delete", help=DELETE_HELP)(switches(given_.DeleteGiven, run))
    return run_app(app, "graphs.index", argv)


if __name__ == "__main__":
    sys.exit(main())
