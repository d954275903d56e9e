"""What a user installs is free to use anywhere: no copyleft, no source-available licence."""

import importlib.metadata
import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REFUSED = re.compile(r"(?<!L)GPL|SSPL|Elastic|Commons.Clause|BUSL|Proprietary", re.IGNORECASE)
PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Unlicense|Zlib")


def installed(extras: set[str]) -> set[str]:
    """Names of all distributions that `deerstalker` with these extras brings in."""
    found: set[str] = set()
    waiting = [Requirement(f"deerstalker[{','.join(sorted(extras))}]" if extras else "deerstalker")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name, wished = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, wished) in seen:
            continue
        seen.add((name, wished))
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional part for another system
        found.add(name)
        for line in map(Requirement, lines):
            marker = line.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ["", *wished]):
                waiting.append(line)
    return found


def licence(name: str) -> str:
    """What a distribution says of its licence, its classifiers too; the title of a long text."""
    facts = importlib.metadata.metadata(name)
    classifiers = [c for c in facts.get_all("Classifier") or [] if c.startswith("License")]
    stated = [facts.get("License-Expression") or "", (facts.get("License") or "")[:80]]
    return " | ".join([*stated, *classifiers])


def refused(names: set[str]) -> list[str]:
    said = {name: licence(name) for name in names}
    return sorted(
        f"{name}: {text}"
        for name, text in said.items()
        if REFUSED.search(text) and not PERMISSIVE.search(text)
    )


def test_no_dependency_has_a_licence_that_binds_its_users() -> None:
    names = installed({"chroma", "evaluate", "openai", "postgres", "ray", "server"})
    assert {"torch", "langgraph", "pypdfium2"} <= names
    assert refused(names) == []


def test_the_check_sees_the_source_available_server_of_the_dev_extra() -> None:
    assert [line.split(":")[0] for line in refused(installed({"dev"}))] == [
        "langgraph-api",
        "langgraph-runtime-inmem",
    ]
