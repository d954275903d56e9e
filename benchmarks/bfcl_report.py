"""What the rows of the BFCL benchmark add up to: shares, intervals, tests and tables."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.bfcl_rows import CATEGORIES, IRRELEVANT
from llm_core.bench.report import table

_RIGHT_TOOL = 0.90
_SIGNIFICANT = 0.05
_Z = 1.959964  # of a 95 % interval
# Calls against the rows of which other category, for the area under the curve.
_AGAINST = {
    "irrelevance": ("simple_python", "multiple"),
    "live_irrelevance": ("live_simple", "live_multiple", "live_relevance"),
}

Result = Mapping[str, Any]


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Every figure of the benchmark: by category and system, paired tests, areas."""
    systems = list(dict.fromkeys(one["system"] for one in results))
    shares = {
        category: {
            system: _shares(found)
            for system in systems
            if (found := _of(results, system, category))
        }
        for category in CATEGORIES
    }
    return {
        "shares": {category: each for category, each in shares.items() if each},
        "against_constrained": {
            system: paired(results, system, "constrained")
            for system in systems
            if system != "constrained" and "constrained" in systems
        },
        "areas": dict(_areas(results)),
    }


def _of(results: Sequence[Result], system: str, category: str) -> list[Result]:
    return [one for one in results if (one["system"], one["category"]) == (system, category)]


def _shares(found: Sequence[Result]) -> dict[str, Any]:
    irrelevant = found[0]["category"] in IRRELEVANT
    out: dict[str, Any] = {
        "rows": len(found),
        "right": share(sum(one["right"] for one in found), len(found)),
        "cpu_seconds": sum(one["cpu_seconds"] for one in found) / len(found),
    }
    if not irrelevant:
        out["whole"] = sum(one["valid"] and one["finished"] for one in found) / len(found)
        out["tools"] = share(sum(one["right_tools"] for one in found), len(found))
    if any(one["free"] is not None for one in found):
        # As it is in use: nothing tells the model to call.
        good = [bool(one["right"] and (irrelevant or one["free"])) for one in found]
        out["right_unasked"] = share(sum(good), len(found))
    return out


def share(right: int, rows: int) -> dict[str, float]:
    """A share with its Wilson interval of 95 % (Wilson 1927)."""
    part = right / rows
    middle = part + _Z**2 / (2 * rows)
    reach = _Z * math.sqrt(part * (1 - part) / rows + _Z**2 / (4 * rows**2))
    scale = 1 + _Z**2 / rows
    return {"share": part, "low": (middle - reach) / scale, "high": (middle + reach) / scale}


def paired(results: Sequence[Result], system: str, other: str) -> dict[str, float]:
    """Rows that one system has right and the other wrong, with the two-sided sign test."""
    rights = {(one["system"], one["id"]): one["right"] for one in results}
    ids = [row for name, row in rights if name == other and (system, row) in rights]
    gained = sum(rights[system, row] and not rights[other, row] for row in ids)
    lost = sum(rights[other, row] and not rights[system, row] for row in ids)
    return {"rows": len(ids), "gained": gained, "lost": lost, "p": sign_test(gained, lost)}


def sign_test(gained: int, lost: int) -> float:
    """The two-sided probability of a split at least so uneven, were both equally likely."""
    count = gained + lost
    tail = sum(math.comb(count, k) for k in range(min(gained, lost) + 1))
    return float(min(1.0, 2 * tail / 2**count))


def area(above: Sequence[float], below: Sequence[float]) -> float:
    """Area under the ROC curve: how often one of `above` is the larger; ties count half."""
    wins = sum((a > b) + 0.5 * (a == b) for a in above for b in below)
    return wins / (len(above) * len(below))


def _areas(results: Sequence[Result]) -> Iterator[tuple[str, dict[str, float]]]:
    """For rows that want no call against rows that do, by the probability of a call."""
    told = [one for one in results if one["wants"] is not None]
    for irrelevant, wanted in _AGAINST.items():
        calls = [one for one in told if one["category"] in wanted]
        rest = [one for one in told if one["category"] == irrelevant]
        if calls and rest:
            yield (
                irrelevant,
                {
                    "calls": len(calls),
                    "others": len(rest),
                    "area": area([one["wants"] for one in calls], [one["wants"] for one in rest]),
                    "calls_kept": sum(one["free"] for one in calls) / len(calls),
                    "others_refused": sum(not one["free"] for one in rest) / len(rest),
                },
            )


def failures(report: Mapping[str, Any]) -> list[str]:
    """What the benchmark must show and does not."""
    missed = []
    for category, systems in report["shares"].items():
        ours = systems.get("ours", {})
        if ours.get("whole", 1.0) < 1:
            missed.append(f"{category}: only {ours['whole']:.1%} of our calls are whole and valid")
    tools = report["shares"].get("multiple", {}).get("ours", {}).get("tools")
    if tools is not None and tools["share"] < _RIGHT_TOOL:
        missed.append(f"multiple: the right tool in {tools['share']:.1%}, not {_RIGHT_TOOL:.0%}")
    test = report["against_constrained"].get("ours")
    if test is not None and not (test["gained"] > test["lost"] and test["p"] < _SIGNIFICANT):
        missed.append(f"no better than constrained: {test}")
    return missed


def tables(report: Mapping[str, Any]) -> Iterator[str]:
    """The report as lines of Markdown."""
    yield from table(
        [
            "category",
            "system",
            "rows",
            "whole and valid",
            "right tools",
            "right",
            "unasked",
            "CPU s",
        ],
        list(_rows(report["shares"])),
    )
    yield ""
    yield from table(
        ["against constrained", "rows", "gained", "lost", "p"],
        [
            [system, f"{test['rows']}", f"{test['gained']}", f"{test['lost']}", f"{test['p']:.2g}"]
            for system, test in report["against_constrained"].items()
        ],
    )
    yield ""
    yield from table(
        ["call or answer", "calls", "others", "area", "calls kept", "others refused"],
        [
            [
                name,
                f"{found['calls']}",
                f"{found['others']}",
                f"{found['area']:.3f}",
                f"{found['calls_kept']:.1%}",
                f"{found['others_refused']:.1%}",
            ]
            for name, found in report["areas"].items()
        ],
    )


def _rows(shares: Mapping[str, Any]) -> Iterator[list[str]]:
    for category, systems in shares.items():
        for system, found in systems.items():
            yield [
                category,
                system,
                str(found["rows"]),
                f"{found['whole']:.1%}" if "whole" in found else "",
                _shown(found.get("tools")),
                _shown(found["right"]),
                _shown(found.get("right_unasked")),
                f"{found['cpu_seconds']:.2f}",
            ]


def _shown(part: Mapping[str, float] | None) -> str:
    if part is None:
        return ""
    return f"{part['share']:.1%} ({part['low']:.0%} to {part['high']:.0%})"
