"""The server under more clients than it has room for: do all get their answer, and how fast?

    python -m benchmarks.server_load --json tiny.json
    python -m benchmarks.server_load --model smollm2-135m --clients 50 --requests 500

Starts `python -m llm_core serve` on a free port. All clients ask at once, each a question that
nobody asked before over a new connection, come back as late as a 429 tells them to, and go on with
their next question until all questions are answered. The memory of the server is taken when a
tenth of the questions is answered, and when all are; both times after a second of rest. The memory
for the beginnings of earlier prompts is bounded to --prefix-mb, so that it is full at the first
of these. Without --model it is a tiny model of random weights in the numbers that the kernel runs,
which leaves the server's own work.

Progress goes to stderr, tables as Markdown to stdout. Exit code 1 where an answer is missing or
wrong, where the memory grew by more than a tenth, or where the server did not end well.
"""

import argparse
import asyncio
import json
import math
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llm_core.bench.measure import machine
from llm_core.bench.report import table
from llm_core.settings import child_environment

ROOT = Path(__file__).resolve().parents[1]
GROWTH = 1.1  # most that the memory may grow to, times that after a tenth of the requests
_REST = 1.0  # seconds until the memory is looked at
_WORDS = ("how", "where", "who", "the", "goose", "hat", "stone", "street", "man", "letter")
_PATIENCE = 900.0  # seconds for one answer, all retries included
_MEGA = 1e6


class LoadError(Exception):
    """The server could not be started, or answered what it should not."""


@dataclass(frozen=True)
class Server:
    """A server process of `serving`."""

    process: "subprocess.Popen[str]"
    url: str  # ends with /v1
    log: Path

    def memory(self) -> float:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return float(line.split()[1]) * 1024

    def stop(self) -> int:
        """End it as a service manager does; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(*options: str, log: Path, **environment: str) -> Iterator[Server]:
    """A server with these options on a free port, killed at the end if it still runs.

    Raises LoadError where it ends before it takes requests.
    """
    command = [sys.executable, "-m", "llm_core", "serve", "--port", "0", *options]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=child_environment(**environment),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise LoadError(f"the server did not start: {log.read_text()[-500:]}")
            yield Server(process, url, log)
        finally:
            if process.poll() is None:
                process.kill()


@dataclass
class Tally:
    """What the clients saw."""

    served: list[float] = field(default_factory=list)  # seconds of the try that was answered
    total: list[float] = field(default_factory=list)  # from the first try to the answer
    turned_away: int = 0
    tokens: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Load:
    """What is asked: so many requests by so many clients, of so many tokens each."""

    model: str
    clients: int
    requests: int
    max_tokens: int
    seed: int = 0

    def questions(self) -> Iterator[dict[str, Any]]:
        """One body for each request, no two alike."""
        pick = random.Random(self.seed)
        for number in range(self.requests):
            text = f"{number}: {' '.join(pick.choices(_WORDS, k=pick.randint(8, 40)))}?"
            yield {
                "model": self.model,
                "messages": [{"role": "user", "content": text}],
                "max_tokens": self.max_tokens,
                "temperature": 1.0,
                "seed": number,
            }


class Clients:
    """Asks a server the questions of a load, `clients` at a time."""

    def __init__(self, url: str, tally: Tally) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._tally = tally

    async def ask_all(self, questions: Iterator[dict[str, Any]], clients: int) -> None:
        """Return when all are answered; what goes wrong is a fault in the tally."""

        async def client() -> None:
            for question in questions:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        await self._ask(question)
                except (OSError, TimeoutError, ValueError, KeyError, LoadError) as error:
                    self._tally.faults.append(f"{type(error).__name__}: {error}"[:200])

        await asyncio.gather(*(client() for _ in range(clients)))

    async def _ask(self, question: dict[str, Any]) -> None:
        body = json.dumps(question).encode()
        began = time.perf_counter()
        while True:
            tried = time.perf_counter()
            status, headers, answer = await self._post("/v1/chat/completions", body)
            if status != 429:
                break
            self._tally.turned_away += 1
            await asyncio.sleep(float(headers["retry-after-ms"]) / 1000)
        now = time.perf_counter()
        if status != 200:
            raise LoadError(f"status {status}: {answer[:150]!r}")
        found = json.loads(answer)
        if not isinstance(found["choices"][0]["message"]["content"], str):
            raise LoadError(f"no text in {answer[:150]!r}")
        self._tally.served.append(now - tried)
        self._tally.total.append(now - began)
        self._tally.tokens += found["usage"]["completion_tokens"]

    async def _post(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """One request over a connection of its own: status, headers, body."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            fields = [line.partition(": ") for line in lines if line]
            headers = {name.lower(): value for name, _, value in fields}
            answer = await reader.readexactly(int(headers["content-length"]))
            return int(first.split()[1]), headers, answer
        finally:
            writer.close()


@dataclass(frozen=True)
class Report:
    """The figures of one run; times in seconds, memory in bytes."""

    model: str
    clients: int
    requests: int
    slots: int
    queue: int
    answered: int
    turned_away: int
    seconds: float
    served_p50: float
    served_p95: float
    total_p50: float
    total_p95: float
    tokens: int
    memory_first: float
    memory_last: float
    exit_code: int
    faults: list[str]

    def good(self) -> bool:
        """Whether every request was answered, in bounded memory, and the server ended well."""
        whole = self.answered == self.requests and not self.faults and self.exit_code == 0
        return whole and self.memory_last <= GROWTH * self.memory_first


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; NaN of none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan


def measure(server: Server, load: Load, slots: int, queue: int) -> Report:
    """Run a load against a server, and end the server."""
    tally = Tally()
    clients = Clients(server.url, tally)
    questions = load.questions()
    first = (next(questions) for _ in range(max(1, load.requests // 10)))
    memory, seconds = [], 0.0
    for part in (first, questions):
        began = time.perf_counter()
        asyncio.run(clients.ask_all(part, load.clients))
        seconds += time.perf_counter() - began
        time.sleep(_REST)
        memory.append(server.memory())
        print(
            f"{len(tally.served)} answers, {len(tally.faults)} faults, {memory[-1] / _MEGA:.0f} MB",
            file=sys.stderr,
        )
    return Report(
        load.model,
        load.clients,
        load.requests,
        slots,
        queue,
        answered=len(tally.served),
        turned_away=tally.turned_away,
        seconds=seconds,
        served_p50=percentile(tally.served, 0.5),
        served_p95=percentile(tally.served, 0.95),
        total_p50=percentile(tally.total, 0.5),
        total_p95=percentile(tally.total, 0.95),
        tokens=tally.tokens,
        memory_first=memory[0],
        memory_last=memory[1],
        exit_code=server.stop(),
        faults=tally.faults[:20],
    )


def lines(report: Report) -> Iterator[str]:
    """The report as text."""
    yield (
        f"{report.clients} clients, {report.requests} requests, {report.slots} slots, "
        f"{report.queue} may wait; {report.model}"
    )
    yield ""
    grown = report.memory_last / report.memory_first
    rows = [
        ["answered", f"{report.answered} of {report.requests}"],
        ["turned away with 429, and came back", f"{report.turned_away} times"],
        ["requests a second", f"{report.answered / report.seconds:.1f}"],
        ["tokens a second", f"{report.tokens / report.seconds:.0f}"],
        ["answer, from the try that was let in, p50", f"{report.served_p50:.3f} s"],
        ["the same, p95", f"{report.served_p95:.3f} s"],
        ["answer, from the first try, p50", f"{report.total_p50:.3f} s"],
        ["the same, p95", f"{report.total_p95:.3f} s"],
        ["memory after a tenth", f"{report.memory_first / _MEGA:.1f} MB"],
        ["memory after all", f"{report.memory_last / _MEGA:.1f} MB, {grown:.3f} times"],
        ["exit code after SIGTERM", str(report.exit_code)],
    ]
    yield from table(["", ""], rows)
    for fault in report.faults:
        yield f"- {fault}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.server_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--model", help="default model, folder, .gguf file or local:OWNER/NAME")
    made.add_argument("--clients", type=int, default=1000)
    made.add_argument("--requests", type=int, default=10_000)
    made.add_argument("--max-tokens", type=int, default=8, help="of a reply")
    made.add_argument("--slots", type=int, default=4)
    made.add_argument("--queue", type=int, default=16, help="requests that may wait")
    made.add_argument("--prefix-mb", type=int, default=4, help="memory for earlier prompts")
    made.add_argument("--threads", type=int, default=2, help="that the model uses")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--json", type=Path, metavar="FILE", help="where all figures go")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether all went well."""
    args = parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        place = args.model or str(_tiny(Path(folder)))
        options = ["--model", f"served={place}", "--slots", str(args.slots)]
        options += ["--queue", str(args.queue), "--threads", str(args.threads), "--quiet"]
        log = Path(folder) / "log"
        load = Load("served", args.clients, args.requests, args.max_tokens, args.seed)
        with serving(*options, log=log, DEERSTALKER_PREFIX_MB=str(args.prefix_mb)) as server:
            found = measure(server, load, args.slots, args.queue)
        print(log.read_text()[-2000:], end="", file=sys.stderr)
    found = replace(found, model=args.model or "a tiny model of random weights")
    print("\n".join(lines(found)))
    if args.json is not None:
        report = {"machine": machine(), **asdict(found)}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if found.good() else 1


def _tiny(folder: Path) -> Path:
    from llm_core.convert import quantise_model
    from tests.llm_core.tiny import build_tiny

    made = folder / "made"
    made.mkdir()
    quantise_model(build_tiny(made, hidden=128), folder / "tiny", "Q4_1")
    return folder / "tiny"


if __name__ == "__main__":
    sys.exit(main())
