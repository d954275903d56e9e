"""The `qa` command: one process a system, then one report of all."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from graphs.errors import EXPECTED_ERRORS, UserError
from graphs.evaluate.given import Given
from graphs.evaluate.plan import Plan, checked
from graphs.evaluate.rows import RowFile
from graphs.evaluate.scoring import Row
from graphs.evaluate.summary import summarise
from graphs.evaluate.worker import INDEX
from graphs.settings import load_settings
from graphs.stopping import EXIT_STOPPED, StopSignal

_POLL_SECONDS = 0.2


class Launch(Protocol):
    """Carries out one stage of a plan and gives its exit code."""

    def __call__(self, plan: Plan, name: str, *, quiet: bool) -> int: ...


def run_qa(given: Given, launch: "Launch | None" = None) -> int:
    """Measure and report; an expected error becomes one line on stderr and exit code 2."""
    try:
        plan = checked(_plan(given))
        _check_out(given.out)
        if given.fresh:
            shutil.rmtree(plan.folder, ignore_errors=True)
        plan.write()
        systems = ["ours", "quoting", *(["baseline"] if given.baseline else [])]
        for name in (INDEX, *systems):
            code = (launch or in_own_process)(plan, name, quiet=given.quiet)
            if code == EXIT_STOPPED:
                print("stopped; run the same command again to go on", file=sys.stderr)
            if code:
                return code
        files = {name: RowFile(plan.folder, name, Row) for name in systems}
        report = make_report(plan, files)
        if given.out is not None:
            _write_out(given.out, {**report, "rows": _plain_rows(files)})
        _show(report, as_json=given.as_json)
    except EXPECTED_ERRORS as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def make_report(plan: Plan, files: "dict[str, RowFile[Row]]") -> dict[str, Any]:
    """The figures of every system, with what they were measured on."""
    figures = {
        name: summarise([file.rows[at] for at in sorted(file.rows)], plan.seed)
        for name, file in files.items()
    }
    return {
        "ours": figures["ours"],
        "baseline": figures.get("baseline"),
        "quoting": figures["quoting"],
        "settings": plan.settings(),
        "manifest": files["ours"].manifest,
    }


def in_own_process(plan: Plan, name: str, *, quiet: bool) -> int:
    """Run a stage as a child that stops when this process is told to."""
    command = [sys.executable, "-m", "graphs.evaluate.worker", str(plan.folder), name]
    stop, told = StopSignal(), False
    with stop.watching(), stop.between_steps():
        child = subprocess.Popen(
            command + ["--quiet"] * quiet,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # the terminal's Ctrl-C reaches it through us, once
        )
        try:
            while True:
                try:
                    return child.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    if stop.event.is_set() and not told:
                        child.send_signal(signal.SIGINT)
                        told = True
        finally:
            if child.poll() is None:
                child.terminate()


def _plan(given: Given) -> Plan:
    settings = load_settings()
    if given.answers_apply is False and not given.docs:
        raise UserError("--answers-foreign needs other documents to ask: name them with --docs")
    apply = not given.docs if given.answers_apply is None else given.answers_apply
    return Plan(
        data=given.data.expanduser(),
        data_hash="",
        limit=given.limit,
        seed=given.seed,
        docs=tuple(path.expanduser() for path in given.docs or ()),
        answers_apply=apply,
        model=given.model or settings.model,
        base_url=given.base_url or settings.base_url,
        embeddings=settings.embeddings,
        work=given.work.expanduser() if given.work else settings.data_dir / "evaluation",
    )


def _check_out(out: Path | None) -> None:
    """Say now, not after an hour, that the results cannot be kept."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UserError(f"--out {out} is no file in a folder that exists")


def _write_out(out: Path, report: dict[str, Any]) -> None:
    try:
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out} ({error.strerror}): give another --out") from error


def _plain_rows(files: "dict[str, RowFile[Row]]") -> dict[str, list[dict[str, Any]]]:
    from dataclasses import asdict

    return {
        name: [asdict(file.rows[at]) for at in sorted(file.rows)] for name, file in files.items()
    }


def _show(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
        return
    from graphs.evaluate.tables import print_report

    print_report(report, sys.stdout)


def run_readme(results: Sequence[Path], readme: Path, *, check: bool) -> int:
    """Write the tables of `results` into the README; with `check` only compare."""
    from graphs.evaluate.tables import with_tables

    try:
        reports = [_read_report(path) for path in results]
        before = _read_text(readme)
        after = with_tables(before, reports, str(readme))
        if after == before:
            return 0
        if check:
            raise UserError(f"{readme} does not show these results: run this without --check")
        readme.write_text(after, encoding="utf-8")
    except EXPECTED_ERRORS as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(_read_text(path))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: give what `qa --json` printed") from error
    if not isinstance(report, dict) or not {"ours", "quoting", "settings"} <= report.keys():
        raise UserError(f"{path} holds no results: give what `qa --json` printed")
    return report


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
