"""The whole command talks to nobody: its connects are counted, or it runs where none can leave."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTED = [sys.executable, "-m", "tests.scripted_main", "{}"]
REAL = [sys.executable, "-m", "graphs.research"]
_ADDRESS = re.compile(r"connect\(\d+, \{sa_family=AF_INET6?.*?inet_(?:addr|pton)\((.*?)\)")


def works(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True).returncode == 0


def outside(trace: str) -> list[str]:
    """The connects of an strace log that do not stay on this machine."""
    found = [match for line in trace.splitlines() if (match := _ADDRESS.search(line))]
    local = ("127.", "::1")
    return [m[0] for m in found if not m[1].split('"')[1].startswith(local)]


def run_watched(command: list[str], tmp_path: Path) -> str:
    """Run under strace, or else in a network namespace without interfaces; returns stdout."""
    trace = tmp_path / "trace"
    if works("strace", "-f", "-e", "trace=connect", "-o", str(trace), "true"):
        watch = ["strace", "-f", "-e", "trace=connect", "-o", str(trace)]
    elif works("unshare", "-rn", "true"):
        watch = ["unshare", "-rn"]
    else:
        pytest.fail("needs strace or user namespaces: apt-get install strace")
    done = subprocess.run([*watch, *command], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    if trace.exists():
        assert outside(trace.read_text()) == []
    return done.stdout


def test_the_watch_sees_a_connect_that_leaves() -> None:
    def line(family: str, address: str) -> str:
        return f"7 connect(3, {{sa_family={family}, sin_port=htons(80), {address}}}, 16) = 0"

    v4, v6 = 'sin_addr=inet_addr("{}")', 'inet_pton(AF_INET6, "{}", &sin6_addr)'
    trace = "\n".join(
        [
            line("AF_INET", v4.format("192.0.2.7")),
            line("AF_INET", v4.format("127.0.0.1")),
            line("AF_INET6", v6.format("2001:db8::1")),
            line("AF_INET6", v6.format("::1")),
            '7 connect(3, {sa_family=AF_UNIX, sun_path="/run/nscd"}, 110) = -1',
        ]
    )
    assert len(outside(trace)) == 2


def test_a_run_over_a_scripted_team_makes_no_outside_connect(tmp_path: Path) -> None:
    out = run_watched([*SCRIPTED, "Where?", "--state", str(tmp_path / "s")], tmp_path)
    assert out.startswith("Fact 1")


@pytest.mark.model
def test_a_real_run_makes_no_outside_connect(tmp_path: Path) -> None:
    document = tmp_path / "goose.txt"
    document.write_text("The blue stone was hidden in the crop of a goose by James Ryder.\n")
    places = [
        "--docs",
        str(document),
        "--index",
        str(tmp_path / "i"),
        "--state",
        str(tmp_path / "s"),
    ]
    out = run_watched([*REAL, "Where was the blue stone hidden?", "--json", *places], tmp_path)
    assert "goose" in json.loads(out)["answer"]
