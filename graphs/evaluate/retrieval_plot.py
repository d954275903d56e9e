"""A picture of a retrieval report: each system's figures with their intervals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphs.errors import UserError
from graphs.evaluate.ir_metrics import METRICS
from graphs.evaluate.retrieval_report import systems_of

_KINDS = (".png", ".svg", ".pdf")


def check_picture(place: Path) -> None:
    """Tell before the work, by UserError, that no picture can be drawn into `place`."""
    try:
        import matplotlib  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise UserError("--plot needs matplotlib: pip install 'deerstalker[evaluate]'") from error
    file = place.expanduser()
    if file.suffix.lower() not in _KINDS or file.is_dir() or not file.absolute().parent.is_dir():
        raise UserError(
            f"cannot draw {place}: give a .png, .svg or .pdf file in a folder that exists"
        )


def draw(report: Mapping[str, Any], place: Path) -> None:
    """Draw `report` into `place`; raises UserError where that is no picture file to write."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot needs matplotlib: pip install 'deerstalker[evaluate]'") from error
    systems = systems_of(report)
    settings = report["settings"]
    figure = Figure(figsize=(3 * len(METRICS), 1 + 0.45 * len(systems)), layout="constrained")
    figure.suptitle(f"{settings['data']} ({settings['split']}), {settings['questions']} questions")
    for axes, metric in zip(figure.subplots(1, len(METRICS), sharey=True), METRICS, strict=True):
        for row, figures in enumerate(systems.values()):
            low, high = figures["intervals"][metric]
            axes.plot([low, high], [row, row], color="tab:gray", linewidth=2)
            axes.plot([figures[metric]], [row], "o", color="tab:red" if row == 0 else "tab:blue")
        axes.set_title(metric)
        axes.set_yticks(range(len(systems)), list(systems))
        axes.grid(axis="x", alpha=0.3)
    figure.axes[0].invert_yaxis()
    try:
        with matplotlib.rc_context({"svg.hashsalt": "retrieval"}):
            figure.savefig(place.expanduser(), metadata=_undated(place))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot draw {place} ({error}): give a .png, .svg or .pdf") from error


def _undated(place: Path) -> dict[str, Any]:
    """No date in the file, so that the same report is the same bytes."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(place.suffix.lower(), {})
