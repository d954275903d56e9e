"""The review of a plan at the terminal: approve, edit or reject."""

from typing import Any, TextIO

from graphs.console import Console


class NobodyAnsweredError(Exception):
    """Standard input ended before a decision: the run stays paused."""


def ask_review(request: dict[str, Any], console: Console, answers: TextIO) -> dict[str, Any]:
    """Show the plan on stderr, read a decision from `answers`, and return the resume value."""
    action = request["action_requests"][0]
    questions: list[str] = action["args"]["sub_questions"]
    _show(console, "The plan is to search for:", *(f"  {i}. {q}" for i, q in _numbered(questions)))
    while True:
        word = _ask(console, answers, "approve, edit or reject? [a/e/r] ").lower()
        if word in ("a", "approve", "y", "yes"):
            return {"decisions": [{"type": "approve"}]}
        if word in ("r", "reject", "n", "no"):
            why = _ask(console, answers, "why (may be empty): ")
            return {"decisions": [{"type": "reject", "message": why or None}]}
        if word in ("e", "edit"):
            edited = _edited(console, answers)
            if edited:
                action = {"name": action["name"], "args": {"sub_questions": edited}}
                return {"decisions": [{"type": "edit", "edited_action": action}]}
        _show(console, "please answer approve, edit or reject")


def _edited(console: Console, answers: TextIO) -> list[str]:
    _show(console, "one question a line (8 at most); an empty line ends the list")
    lines: list[str] = []
    while len(lines) < 8 and (line := _ask(console, answers, "> ")):
        lines.append(line[:1000])
    return lines


def _ask(console: Console, answers: TextIO, prompt: str) -> str:
    print(prompt, end="", file=console.err, flush=True)
    line = answers.readline()
    if not line:
        print(file=console.err)
        raise NobodyAnsweredError
    return line.strip()


def _show(console: Console, *lines: str) -> None:
    for line in lines:
        print(line, file=console.err, flush=True)


def _numbered(questions: list[str]) -> list[tuple[int, str]]:
    return list(enumerate(questions, 1))
