"""Rankings pooled into the figures of each system, with intervals and differences to ours."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

from graphs.evaluate.contenders import ABLATION, OURS
from graphs.evaluate.ir_metrics import METRICS, bootstrap_interval

if TYPE_CHECKING:
    from graphs.evaluate.beir import Corpus

_TABLE: Final = (*METRICS, "ms", "cpu_ms")


@dataclass(frozen=True)
class Ranking:
    """What one system gave for one question: its figures, its time, and its first results."""

    at: int
    query: str
    figures: dict[str, float]
    ms: float
    cpu_ms: float
    found: list[str]


def make_report(
    rows: Mapping[str, Sequence[Ranking]], corpus: "Corpus", seed: int
) -> dict[str, Any]:
    """A key a system, `ablation`, `differences` of ours to each of all, and `settings`."""
    figures: dict[str, Any] = {name: summarise(ranked, seed) for name, ranked in rows.items()}
    others = [name for name in rows if name != OURS]
    return {
        **{name: part for name, part in figures.items() if name not in ABLATION},
        "ablation": {name: part for name, part in figures.items() if name in ABLATION},
        "differences": {name: differences(rows[OURS], rows[name], seed) for name in others},
        "settings": {
            "data": corpus.name,
            "split": corpus.split,
            "data_sha256": corpus.digest(),
            "documents": len(corpus.docs),
            "questions": len(corpus.queries),
            "seed": seed,
        },
    }


def summarise(rows: Sequence[Ranking], seed: int) -> dict[str, Any]:
    """Means over the questions with their 95 % intervals; `ms` and `cpu_ms` are medians."""
    values = {name: [row.figures[name] for row in rows] for name in METRICS}
    times = [row.ms for row in rows]
    return {
        **{name: round(statistics.fmean(column), 4) for name, column in values.items()},
        "ms": round(statistics.median(times), 2),
        "ms_p95": round(sorted(times)[max(0, round(0.95 * len(times)) - 1)], 2),
        "cpu_ms": round(statistics.median(row.cpu_ms for row in rows), 2),
        "questions": len(rows),
        "intervals": {name: interval(column, seed) for name, column in values.items()},
    }


def differences(
    ours: Sequence[Ranking], other: Sequence[Ranking], seed: int
) -> dict[str, dict[str, Any]]:
    """Ours less the other, question by question: mean and 95 % interval of each figure."""
    found: dict[str, dict[str, Any]] = {}
    for name in METRICS:
        gaps = [a.figures[name] - b.figures[name] for a, b in zip(ours, other, strict=True)]
        low, high = interval(gaps, seed)
        found[name] = {
            "mean": round(statistics.fmean(gaps), 4),
            "interval": [low, high],
            "excludes_zero": low > 0 or high < 0,
        }
    return found


def interval(values: Sequence[float], seed: int) -> list[float]:
    """The bootstrap interval of a mean, rounded for a report."""
    return [round(value, 4) for value in bootstrap_interval(values, seed)]


def print_report(report: Mapping[str, Any], out: TextIO) -> None:
    """Print the figures of all systems, and how far ours is from each."""
    from rich.console import Console
    from rich.table import Table

    settings = report["settings"]
    title = (
        f"{settings['questions']} questions ({settings['split']}) over {settings['documents']}"
        f" documents of {settings['data']}, seed {settings['seed']}; 95 % intervals by bootstrap"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("", *_TABLE, "ours less it, ndcg@10"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, figures in systems_of(report).items():
        cells = [_cell(figures, metric) for metric in _TABLE]
        table.add_row(name, *cells, _gap(report["differences"].get(name)))
    width = None if out.isatty() else 160
    Console(file=out, width=width, markup=False, highlight=False).print(table)


def systems_of(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The systems of a report with their figures, in their order, those of the ablation last."""
    named = {name: part for name, part in report.items() if isinstance(part, Mapping)}
    systems = {name: part for name, part in named.items() if METRICS[0] in part}
    return {**systems, **report["ablation"]}


def _cell(figures: Mapping[str, Any], metric: str) -> str:
    between = figures["intervals"].get(metric)
    value = figures[metric]
    if between is None:
        return f"{value:.1f}"
    return f"{value:.3f} ({between[0]:.3f}–{between[1]:.3f})"


def _gap(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return ""
    gap = difference[METRICS[0]]
    return f"{gap['mean']:+.3f} ({gap['interval'][0]:+.3f} to {gap['interval'][1]:+.3f})"
