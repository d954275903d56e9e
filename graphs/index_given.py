"""The switches of `python -m graphs.index`, written once.

They are apart from the module that is run, which is known by two names while it runs.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

from graphs.commandline import AsJson, Quiet

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
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="Each text by itself on one thread: the same bytes."),
]
Vectors = Annotated[
    str | None,
    typer.Option(
        "--vectors",
        metavar="ADDRESS",
        help="Keep the vectors in an engine: http://HOST:PORT of a Chroma server, or"
        " postgresql://... (default: DEERSTALKER_VECTORS, else beside the texts).",
    ),
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
class WorkGiven:
    """The switches of what reads and embeds."""

    ray: Ray = None
    workers: Workers = None
    vectors: Vectors = None
    deterministic: Deterministic = False
    as_json: AsJson = False
    quiet: Quiet = False


@dataclass(frozen=True)
class BuildGiven(WorkGiven):
    """The switches of `build`."""

    docs: Docs = None
    name: Name = None
    index: Index = None


@dataclass(frozen=True)
class UpdateGiven(WorkGiven):
    """The switches of `update`."""

    indexes: Several = None
    restore: Restore = False


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
    vectors: Vectors = None
    yes: Yes = False
    as_json: AsJson = False


IndexGiven = BuildGiven | UpdateGiven | ListGiven | ShowGiven | ExportGiven | DeleteGiven
