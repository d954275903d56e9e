"""The report as a table: at the terminal, and as Markdown between markers of the README."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from graphs.errors import UserError

START: Final = "<!-- evaluation:start -->"
END: Final = "<!-- evaluation:end -->"
SYSTEMS: Final = {"ours": "Deerstalker", "quoting": "two quotes", "baseline": "plain chain"}
# Key, label, decimals; "%" is a share shown in per cent.
METRICS: Final[tuple[tuple[str, str, int | str], ...]] = (
    ("passage_recall", "passage recall", "%"),
    ("answer_hit", "answer hit", "%"),
    ("em", "short answer, exact match", "%"),
    ("f1", "short answer, F1", "%"),
    ("citation_precision", "citation precision", "%"),
    ("citation_holds_answer", "citations that hold the answer", "%"),
    ("cited_holds_answer", "answers whose cited passage holds the answer", "%"),
    ("sentences_with_citation", "sentences with a citation", "%"),
    ("composed_share", "sentences composed, not quoted", "%"),
    ("abstention_unanswerable", "refused, unanswerable", "%"),
    ("abstention_answerable", "refused, answerable", "%"),
    ("auroc", "answerable from unanswerable, AUROC", 2),
    ("dangling_citations", "dangling citations", 0),
    ("duplicate_citations", "duplicate citations", 0),
    ("max_ids_a_sentence", "most citations a sentence", 0),
    ("answer_words", "words an answer, median", 0),
    ("seconds_median", "seconds a question, median", 2),
    ("seconds_p90", "seconds a question, 90th percentile", 2),
    ("cpu_seconds_median", "processor seconds a question, median", 2),
    ("peak_memory_mb", "peak memory, MB", 0),
)


def print_report(report: Mapping[str, Any], out: TextIO) -> None:
    """Print the figures of all systems side by side."""
    from rich.console import Console
    from rich.table import Table

    shown = _shown(report)
    table = Table(title=caption(report), title_justify="left")
    table.add_column("")
    for name in shown:
        table.add_column(SYSTEMS[name], justify="right")
    for label, *cells in _lines(report, shown):
        table.add_row(label, *cells)
    width = None if out.isatty() else 120
    Console(file=out, width=width, markup=False, highlight=False).print(table)


def with_tables(text: str, reports: Sequence[Mapping[str, Any]], name: str) -> str:
    """`text` with the tables of `reports` between its two markers.

    Raises UserError where the markers are not there once each, in order.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UserError(f"{name} needs a line {START} and after it a line {END}, once each")
    head, tail = text[: text.index(START)], text[text.index(END) :]
    tables = "\n\n".join(markdown(report) for report in reports)
    return f"{head}{START}\n{tables}\n{tail}"


def markdown(report: Mapping[str, Any]) -> str:
    """One report as a caption, a Markdown table, and the command that makes it again."""
    shown = _shown(report)
    rows = [["", *(SYSTEMS[name] for name in shown)], ["---", *["---:"] * len(shown)]]
    rows += _lines(report, shown)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{caption(report)}\n\n{table}\n\n`{command(report)}`"


def caption(report: Mapping[str, Any]) -> str:
    """What was asked of what, in one line."""
    settings, ours = report["settings"], report["ours"]
    over = (
        "their own paragraphs" if settings["corpus"] == "paragraphs" else " ".join(settings["docs"])
    )
    counts = f"{ours['answerable']} answerable, {ours['unanswerable']} unanswerable there"
    asked = "1 question" if ours["questions"] == 1 else f"{ours['questions']} questions"
    model = f"model {settings['model']}, seed {settings['seed']}"
    return f"{asked} of {settings['data']} over {over} ({counts}), {model}"


def command(report: Mapping[str, Any]) -> str:
    """The command that makes the report again."""
    settings = report["settings"]
    words = ["python -m graphs.evaluate qa --data", settings["data"]]
    words += [f"--limit {settings['limit']}"] if settings["limit"] else []
    words += [f"--seed {settings['seed']}", f"--model {settings['model']}"]
    words += [f"--base-url {settings['base_url']}"] if settings["base_url"] else []
    words += [f"--docs {name}" for name in settings["docs"]]
    words += ["--answers-apply"] if settings["docs"] and settings["answers_apply"] else []
    words += ["--baseline"] if report.get("baseline") else []
    return " ".join(words)


def _shown(report: Mapping[str, Any]) -> list[str]:
    return [name for name in SYSTEMS if report.get(name)]


def _lines(report: Mapping[str, Any], shown: Sequence[str]) -> list[list[str]]:
    """Label and one cell a system, for every metric that some system has."""
    lines = []
    for key, label, form in METRICS:
        cells = [_cell(report[name], key, form) for name in shown]
        if any(cells):
            lines.append([label, *(cell or "–" for cell in cells)])
    return lines


def _cell(figures: Mapping[str, Any], key: str, form: int | str) -> str:
    value = (figures["risk_coverage"] or {}).get(key) if key == "auroc" else figures[key]
    if value is None:
        return ""
    interval = figures["intervals"].get(key)
    if form != "%":
        return f"{value:.{form}f}"
    between = f" ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})" if interval else ""
    return f"{100 * value:.0f} %{between}"
