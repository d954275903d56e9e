"""Results as text: one table a measurement, medians with the range of the rounds behind them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_core.bench.measure import Spread, ratio

OURS = "deerstalker"
Rows = Sequence[Sequence[str]]


def table(head: Sequence[str], rows: Rows) -> Iterator[str]:
    """Lines of a table in columns that also reads as Markdown."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"| {' | '.join(cells)} |"


def show(spread: Spread, digits: int = 1) -> str:
    """A median with its range, such as `12.5 [11.0-13.1]`."""
    return f"{spread.median:.{digits}f} [{spread.low:.{digits}f}-{spread.high:.{digits}f}]"


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Everything that `report` holds, as lines."""
    machine = report["machine"]
    yield (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"{report['threads']} threads, {report['rounds']} rounds, {machine['date']}"
    )
    for name, about in report.get("contenders", {}).items():
        yield f"- {name}: {about}"
    for length, series in report.get("speed", {}).items():
        yield ""
        yield f"Prompt of {length} tokens, {report['generate']} generated"
        yield from _speeds(series)
    for part, write in _PARTS.items():
        if part in report:
            yield ""
            yield from write(report[part])
    if report.get("warning"):
        yield ""
        yield f"warning: {report['warning']}"


def _speeds(series: Mapping[str, Mapping[str, list[float]]]) -> Iterator[str]:
    head = ["", "first token, s", "prefill, tokens/s", "decode, tokens/s", "prefill, ours is"]
    head.append("decode, ours is")
    rows = []
    for name in series["decode"]:
        rows.append(
            [
                name,
                show(Spread.of(series["first"][name]), 3),
                show(Spread.of(series["prefill"][name])),
                show(Spread.of(series["decode"][name])),
                *(_times(series[what], name) for what in ("prefill", "decode")),
            ]
        )
    yield from table(head, rows)


def _times(series: Mapping[str, list[float]], name: str) -> str:
    """How many times a contender's value ours is, round by round."""
    if name == OURS or OURS not in series:
        return ""
    return show(ratio(series[OURS], series[name]), 2) + "x"


def _prefix(part: Mapping[str, Any]) -> Iterator[str]:
    yield f"First token after {part['shared']} shared and {part['tail']} new tokens, seconds"
    rows = []
    for name in part["cold"]:
        cold, warm = part["cold"][name], part["warm"][name]
        rows.append(
            [
                name,
                show(Spread.of(cold), 3),
                show(Spread.of(warm), 3),
                show(ratio(cold, warm)) + "x",
            ]
        )
    yield from table(["", "cold", "prefix in memory", "sooner"], rows)


def _adapter(part: Mapping[str, list[float]]) -> Iterator[str]:
    yield "Decode with a rank-16 adapter on every projection, tokens/s"
    row = [show(Spread.of(part["bare"])), show(Spread.of(part["adapter"]))]
    yield from table(
        ["bare", "with adapter", "adapter / bare"],
        [[*row, show(ratio(part["adapter"], part["bare"]), 3) + "x"]],
    )


def _queue(part: Mapping[str, Any]) -> Iterator[str]:
    yield f"{part['requests']} requests, seconds for all"
    row = [show(Spread.of(part["in_turn"]), 2), show(Spread.of(part["at_once"]), 2)]
    times = show(ratio(part["in_turn"], part["at_once"]), 3) + "x"
    yield from table(["one after another", "at once", "sooner"], [[*row, times]])


def _fresh(part: Mapping[str, Mapping[str, list[float]]]) -> Iterator[str]:
    yield "A new process"
    rows = [
        [
            name,
            show(Spread.of(part["ready"][name]), 2),
            show(Spread.of(part["token"][name]), 2),
            show(Spread.of([value / 1e6 for value in part["memory"][name]]), 0),
        ]
        for name in part["ready"]
    ]
    yield from table(["", "ready, s", "first token, s", "peak memory, MB"], rows)


def _embeddings(part: Mapping[str, Any]) -> Iterator[str]:
    yield f"Embeddings of {part['texts']} paragraphs"
    rows = [
        [
            name,
            show(Spread.of(values)),
            _times(part["rate"], name),
            f"{part['cosine'][name]:.5f}",
        ]
        for name, values in part["rate"].items()
    ]
    reference = next(iter(part["cosine"]))
    yield from table(["", "paragraphs/s", "ours is", f"lowest cosine to {reference}"], rows)


def _divergence(part: Mapping[str, float]) -> Iterator[str]:
    yield "Mean KL divergence of the next-token distribution from float32"
    yield from table(["", "nats"], [[name, f"{value:.5f}"] for name, value in part.items()])


_PARTS = {
    "prefix": _prefix,
    "adapter": _adapter,
    "queue": _queue,
    "fresh": _fresh,
    "embeddings": _embeddings,
    "divergence": _divergence,
}
