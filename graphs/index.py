"""Build, update, list, show, export and delete the indexes that questions are answered from.

python -m graphs.index build --docs ~/papers
python -m graphs.index list
python -m graphs.index delete NAME --document notes/old.txt
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from graphs.commandline import AsJson, Quiet, new_app, run_app, switches

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

Name = Annotated[str | None, typer.Option("--name", help="Name of the index, in your data folder.")]
Docs = Annotated[
    list[str] | None,
    typer.Option("--docs", metavar="PATH", help="Folder or file; may be given more than once."),
]
Index = Annotated[
    str | None, typer.Option("--index", metavar="PATH", help="Folder that keeps the index.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Read and embed on a Ray cluster: auto, local, or an address such as"
        " ray://head:10001. Every node must see the documents under the same path.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="With --ray: how many models at once (default: one a node)."),
]
Chosen = Annotated[str, typer.Argument(metavar="INDEX", help="Name or folder of an index.")]
Several = Annotated[
    list[str] | None, typer.Argument(metavar="[INDEX]...", help="Names or folders; none means all.")
]
Place = Annotated[str | None, typer.Argument(metavar="[FOLDER]", help="Where to look.")]
Documents = Annotated[bool, typer.Option("--documents", help="List the files too.")]
Restore = Annotated[
    bool, typer.Option("--restore", help="Take back files that were deleted from the index.")
]
Target = Annotated[str, typer.Argument(metavar="FOLDER", help="Where to write; must be empty.")]
To = Annotated[str, typer.Option("--to", help="faiss, chroma or jsonl.")]
Gone = Annotated[
    list[str] | None,
    typer.Option("--document", metavar="FILE", help="A file, as `show --documents` names it."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclass(frozen=True)
class BuildGiven:
    """The switches of `build`."""

    docs: Docs = None
    name: Name = None
    index: Index = None
    ray: Ray = None
    workers: Workers = None
    as_json: AsJson = False
    quiet: Quiet = False


@dataclass(frozen=True)
class UpdateGiven:
    """The switches of `update`."""

    indexes: Several = None
    restore: Restore = False
    ray: Ray = None
    workers: Workers = None
    as_json: AsJson = False
    quiet: Quiet = False


@dataclass(frozen=True)
class ListGiven:
    """The switches of `list`."""

    place: Place = None
    as_json: AsJson = False


@dataclass(frozen=True)
class ShowGiven:
    """The switches of `show`."""

    index: Chosen
    documents: Documents = False
    as_json: AsJson = False


@dataclass(frozen=True)
class ExportGiven:
    """The switches of `export`."""

    index: Chosen
    folder: Target
    to: To = "faiss"
    as_json: AsJson = False
    quiet: Quiet = False


@dataclass(frozen=True)
class DeleteGiven:
    """The switches of `delete`."""

    index: Chosen
    document: Gone = None
    yes: Yes = False
    as_json: AsJson = False


IndexGiven = BuildGiven | UpdateGiven | ListGiven | ShowGiven | ExportGiven | DeleteGiven


def main(
    argv: Sequence[str] | None = None, *, embeddings: "Callable[[], Embeddings] | None" = None
) -> int:
    """Run the command; returns the exit code. `embeddings` makes the model, for tests."""

    def run(given: IndexGiven) -> int:
        from graphs.index_command import run_index

        return run_index(given, embeddings)

    app = new_app(no_args_is_help=True)
    app.command("build", help=BUILD_HELP)(switches(BuildGiven, run))
    app.command("update", help=UPDATE_HELP)(switches(UpdateGiven, run))
    app.command("list", help=LIST_HELP)(switches(ListGiven, run))
    app.command("show", help=SHOW_HELP)(switches(ShowGiven, run))
    app.command("export", help=EXPORT_HELP)(switches(ExportGiven, run))
    app.command("delete", help=DELETE_HELP)(switches(DeleteGiven, run))
    return run_app(app, "graphs.index", argv)


if __name__ == "__main__":
    sys.exit(main())
