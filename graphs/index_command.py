"""What `python -m graphs.index` does: from its switches to indexes, lines and error lines."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graphs.errors import EXPECTED_ERRORS, UserError
from graphs.index_given import (
    BuildGiven,
    DeleteGiven,
    ExportGiven,
    IndexGiven,
    ListGiven,
    ShowGiven,
    UpdateGiven,
)
from graphs.settings import Settings, load_settings, settle_process

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from retrievers.indexing import IndexReport
    from retrievers.manage import IndexFacts

_WAIT: Final = 60.0  # seconds to wait for another process that writes the index
_NAME: Final = re.compile(r"\w[\w.-]{0,63}$")


def run_index(given: IndexGiven, embeddings: "Callable[[], Embeddings] | None") -> int:
    """Carry out a command; an expected error becomes one line on stderr and exit code 2."""
    try:
        settings = load_settings()
        settle_process()
        return _Indexes(settings, embeddings).run(given)
    except EXPECTED_ERRORS as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing is lost, run the same command again to go on", file=sys.stderr)
        return 130


class _Indexes:
    """The indexes of a person, and the model that makes their vectors."""

    def __init__(
        self, settings: Settings, embeddings: "Callable[[], Embeddings] | None" = None
    ) -> None:
        self._settings = settings
        self._injected = embeddings

    def run(self, given: IndexGiven) -> int:
        match given:
            case BuildGiven():
                return self._build(given)
            case UpdateGiven():
                return self._update(given)
            case ListGiven():
                return self._list(given)
            case ShowGiven():
                return self._show(given)
            case ExportGiven():
                return self._export(given)
            case DeleteGiven():
                return self._delete(given)

    # ------------------------------------------------------------------ build, update

    def _build(self, given: BuildGiven) -> int:
        docs = self._settings.documents([_path("--docs", text) for text in given.docs or ()])
        if not docs:
            raise UserError("no documents: name a folder or file with --docs PATH")
        if given.name is not None and given.index is not None:
            raise UserError("--name and --index both say where the index is: give one of them")
        if given.name is not None:
            folder = self._place() / _checked_name(given.name)
        elif given.index is not None:
            folder = _path("--index", given.index)
        else:
            folder = self._settings.index_dir(docs)
        report = self._bring_up_to_date(folder, docs, given)
        _print_json([_as_json(folder, report)] if given.as_json else None, one=True)
        return 0

    def _update(self, given: UpdateGiven) -> int:
        from retrievers.exclusions import include_all
        from retrievers.manage import describe_index, find_indexes

        folders = [self._find(name) for name in given.indexes or ()]
        folders = folders or [path for path in find_indexes(self._place()) if path != self._place()]
        if not folders:
            raise UserError(f"there is no index in {self._place()}: make one with `build`")
        done = []
        for folder in folders:
            paths = describe_index(folder).paths
            if not paths:
                raise UserError(
                    f"{folder} does not say which documents it holds: name them once with "
                    f"`build --index {folder} --docs PATH`"
                )
            if given.restore:
                include_all(folder)
            report = self._bring_up_to_date(folder, [Path(path) for path in paths], given)
            done.append(_as_json(folder, report))
        _print_json(done if given.as_json else None)
        return 0

    def _bring_up_to_date(
        self, folder: Path, docs: Sequence[Path], given: BuildGiven | UpdateGiven
    ) -> "IndexReport":
        from graphs.console import standard_console
        from retrievers.corpus import Corpus
        from retrievers.indexing import update_index

        console = standard_console(quiet=given.quiet)
        embeddings = self._embeddings(deterministic=given.deterministic)
        corpus = Corpus(folder)
        try:
            with _work(given, embeddings) as work, console.indexing() as progress:
                report = update_index(
                    corpus, docs, embeddings, progress, work=work, vectors=self._vectors(given)
                )
        finally:
            corpus.close()
        console.indexed(report)
        console.say(f"{'index':<8} {folder}")
        return report

    def _vectors(self, given: BuildGiven | UpdateGiven | DeleteGiven) -> str | None:
        """The address of the engine that keeps the vectors, if one does."""
        set_ = self._settings.vectors
        return given.vectors or (set_.get_secret_value() if set_ is not None else None)

    def _embeddings(self, *, deterministic: bool = False) -> "Embeddings":
        if self._injected is not None:
            return self._injected()
        from llm_core.embeddings import LocalEmbeddings
        from llm_core.settings import load_settings as load_model_settings

        places = load_model_settings()
        return LocalEmbeddings(
            self._settings.embeddings,
            cache_dir=places.cache_dir,
            threads=places.threads or (1 if deterministic else None),
            deterministic=deterministic,
        )

    # ------------------------------------------------------------------ list, show

    def _list(self, given: ListGiven) -> int:
        from retrievers.manage import describe_index, find_indexes

        place = self._place() if given.place is None else _path("FOLDER", given.place)
        if given.place is not None and not place.is_dir():
            raise UserError(f"there is no folder {place}")
        found = [describe_index(folder) for folder in find_indexes(place)]
        if given.as_json:
            _print_json([_facts(one) for one in found])
        elif not found:
            print(f"no index in {place}: make one with `python -m graphs.index build --docs PATH`")
        for one in found if not given.as_json else ():
            print(_line(one))
        return 0

    def _show(self, given: ShowGiven) -> int:
        from retrievers.manage import describe_index, list_documents

        facts = describe_index(self._find(given.index))
        held = list_documents(facts.folder) if given.documents else []
        if given.as_json:
            files = {"files": [asdict(one) for one in held]} if given.documents else {}
            _print_json([{**_facts(facts), **files}], one=True)
            return 0
        print("\n".join(_lines(facts)))
        for one in held:
            print(f"{one.passages:>7} passages  {_printable(one.source)}")
        return 0

    # ------------------------------------------------------------------ export, delete

    def _export(self, given: ExportGiven) -> int:
        from retrievers.index_export import FORMATS, export_index

        folder, target = self._find(given.index), _path("FOLDER", given.folder)
        if given.to not in FORMATS:
            raise UserError(f"--to {given.to} is unknown: give {', '.join(FORMATS)}")
        count = export_index(folder, target, given.to, self._embeddings())
        if given.as_json:
            _print_json([{"folder": str(target), "to": given.to, "passages": count}], one=True)
        elif not given.quiet:
            print(f"{count} passages with their vectors: {target} ({given.to})")
        return 0

    def _delete(self, given: DeleteGiven) -> int:
        from retrievers.manage import delete_documents, delete_index, describe_index

        folder = self._find(given.index)
        what = ", ".join(given.document) if given.document else f"the index {folder}"
        if not given.yes:
            if not sys.stdin.isatty():
                raise UserError(f"delete {what}? give --yes to do it without being asked")
            import typer

            if not typer.confirm(f"Delete {what}? Your documents are not touched.", err=True):
                raise UserError("nothing was deleted")
        address, notes = self._vectors(given), list[str]()
        if given.document:
            notes += delete_documents(folder, given.document, with_vectors=address is None)
        if address is not None and describe_index(folder).state == "damaged":
            notes.append("it is damaged, so its vectors stay in the engine, without any text")
        elif address is not None:
            self._delete_served(folder, address, everything=not given.document)
        if not given.document:
            delete_index(folder)
        if given.as_json:
            _print_json([{"index": str(folder), "deleted": given.document, "notes": notes}], True)
        else:
            print("\n".join([f"deleted {what}", *notes]))
        return 0

    def _delete_served(self, folder: Path, address: str, *, everything: bool) -> None:
        """Take out of the engine what has left the index, or all of it."""
        from retrievers.corpus import Corpus
        from retrievers.vector_server import forget_engine, open_vector_server, send_changes

        corpus = Corpus(folder)
        try:
            with corpus.writing(_WAIT):
                engine, name = open_vector_server(corpus, address, self._embeddings())
                (forget_engine if everything else send_changes)(corpus, engine, name)
        finally:
            corpus.close()

    # ------------------------------------------------------------------ where indexes are

    def _place(self) -> Path:
        return self._settings.data_dir / "index"

    def _find(self, name: str) -> Path:
        """The folder of an index: a folder as it is, else a name, or the one beginning so."""
        from retrievers.manage import find_indexes, is_index

        given = _path("INDEX", name).expanduser()
        if is_index(given):
            return given
        known = {path.name: path for path in find_indexes(self._place())}
        if name in known:
            return known[name]
        near = [path for key, path in known.items() if key.startswith(name)]
        if len(near) == 1:
            return near[0]
        many = f"{len(near)} indexes begin with {name}" if near else f"there is no index {name}"
        raise UserError(f"{many}: `python -m graphs.index list` names them")


def _work(given: BuildGiven | UpdateGiven, embeddings: "Embeddings") -> Any:
    """A context that gives the work of an update, done here or on a cluster."""
    import contextlib

    if given.ray is None:
        if given.workers is not None:
            raise UserError("--workers counts models on a Ray cluster: give --ray too")
        return contextlib.nullcontext()
    from retrievers.ray_work import ray_work

    return ray_work(embeddings, given.ray, given.workers)


def _path(switch: str, text: str) -> Path:
    if not text.strip():
        raise UserError(f"the path given to {switch} is empty: name one, or . for this folder")
    return Path(text)


def _checked_name(name: str) -> str:
    if not _NAME.match(name):
        raise UserError(
            f"--name {name!r} is not usable: letters, digits, and . - _ after the first, up to 64"
        )
    return name


def _as_json(folder: Path, report: "IndexReport") -> dict[str, Any]:
    return {"folder": str(folder.absolute()), **asdict(report)}


def _facts(one: "IndexFacts") -> dict[str, Any]:
    return {**asdict(one), "folder": str(one.folder.absolute())}


def _print_json(values: Sequence[Any] | None, one: bool = False) -> None:
    if values is not None:
        print(json.dumps(values[0] if one else list(values), indent=2))


def _line(one: "IndexFacts") -> str:
    size = f"{(one.store_bytes + one.search_bytes) / 1e6:.1f} MB"
    note = "" if one.state == "ready" else f"  {one.state}"
    what = ", ".join(map(_printable, one.paths)) or "?"
    held = f"{one.documents} documents, {one.passages} passages, {size}{note}"
    return f"{one.name}  {held}  {what}"


def _lines(one: "IndexFacts") -> list[str]:
    facts = [
        ("index", one.name),
        ("folder", str(one.folder.absolute())),
        ("state", one.state + (f", {one.waiting} texts to embed" if one.waiting else "")),
        ("of", ", ".join(map(_printable, one.paths)) or "?"),
        ("holds", f"{one.documents} documents, {one.passages} passages"),
        ("content", one.index or "none"),
        ("embedding", one.embedding or "none"),
        ("on disk", f"{one.store_bytes / 1e6:.1f} MB texts and vectors"),
        ("", f"{one.search_bytes / 1e6:.1f} MB search structures"),
    ]
    if one.deleted:
        facts.append(("deleted", f"{one.deleted} files are kept out of it"))
    facts += [("left out", f"{_printable(file)}: {why}") for file, why in one.skipped]
    return [f"{name:<10} {value}" for name, value in facts]


def _printable(text: str) -> str:
    """The text without control characters, which would steer the terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
