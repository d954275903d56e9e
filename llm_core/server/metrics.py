"""What the server counts, in the text format of Prometheus; a registry of its own."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384)


class Metrics:
    """The counters of one server; safe to use from several threads.

    `request`, `tokens` and `first_token` are told what happened; `gauge` and `counter` name
    numbers that are looked up whenever the metrics are read.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "deerstalker_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "deerstalker_request_seconds",
            "From a request's arrival to its answer's last byte.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first = Histogram(
            "deerstalker_first_token_seconds",
            "From a request's arrival to its first token.",
            ["model"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tokens = Counter(
            "deerstalker_tokens",
            "Tokens read (prompt) and written (reply).",
            ["model", "kind"],
            registry=self._registry,
        )
        self._lengths = Histogram(
            "deerstalker_tokens_per_request",
            "Tokens of one request.",
            ["model", "kind"],
            buckets=_TOKENS,
            registry=self._registry,
        )
        self._watched = _Watched()
        self._registry.register(self._watched)
        ProcessCollector(registry=self._registry)  # memory, processor time, open files

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is the pattern of the path, not the path."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def first_token(self, model: str, seconds: float) -> None:
        """Count the time from a request's arrival to its first token."""
        self._first.labels(model).observe(seconds)

    def tokens(self, model: str, prompt: int, reply: int = 0) -> None:
        """Count the tokens of one request; `model` is a name that the server knows."""
        for kind, count in (("prompt", prompt), ("reply", reply)):
            self._tokens.labels(model, kind).inc(count)
            self._lengths.labels(model, kind).observe(count)

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a number that goes up and down."""
        self._watched.add(lambda: GaugeMetricFamily(name, text, value=value()))

    def counters(self, name: str, text: str, values: Callable[[], Mapping[str, float]]) -> None:
        """Show a number for each of some models, which only grows while the model is loaded."""

        def found() -> Metric:
            family = CounterMetricFamily(name, text, labels=["model"])
            for model, value in values().items():
                family.add_metric([model], value)
            return family

        self._watched.add(found)

    def text(self) -> bytes:
        """All of them in the format that Prometheus reads."""
        return generate_latest(self._registry)


class _Watched(Collector):
    """Numbers that others keep, looked up when they are read."""

    def __init__(self) -> None:
        self._found: list[Callable[[], Metric]] = []

    def add(self, find: Callable[[], Metric]) -> None:
        self._found.append(find)

    def collect(self) -> Iterator[Metric]:
        for find in self._found:
            yield find()
