"""One hash names everything that an answer was asked with."""

import re
from pathlib import Path

import pytest

from agents import prompts

SAID_TO_PEOPLE = {"SMALL_TALK"}
ASKED = [
    name
    for name, value in vars(prompts).items()
    if name.isupper() and isinstance(value, str) and name not in SAID_TO_PEOPLE
]


def test_the_hash_is_stable() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", prompts.prompt_hash())
    assert prompts.prompt_hash() == prompts.prompt_hash()


def test_every_step_has_its_prompt() -> None:
    assert {"PLAN_SYSTEM", "WRITE", "CLAIM", "CLAIM_WITHOUT_TEXT"} <= set(ASKED)


@pytest.mark.parametrize("name", ASKED)
def test_another_prompt_is_another_hash(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prompts.prompt_hash()
    monkeypatch.setattr(prompts, name, getattr(prompts, name) + " ")
    assert prompts.prompt_hash() != before


def test_moving_words_between_prompts_is_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prompts.prompt_hash()
    monkeypatch.setattr(prompts, "CLAIM", prompts.CLAIM + prompts.CLAIM_WITHOUT_TEXT[0])
    monkeypatch.setattr(prompts, "CLAIM_WITHOUT_TEXT", prompts.CLAIM_WITHOUT_TEXT[1:])
    assert prompts.prompt_hash() != before


def test_other_weights_are_another_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = prompts.prompt_hash()
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "evidence.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(prompts, "files", lambda _package: tmp_path)
    assert prompts.prompt_hash() != before


def test_braces_in_a_document_do_not_break_a_prompt() -> None:
    text = "if (a) { b } {question} {0}"
    assert text in prompts.CLAIM.format(text=text)
    assert text in prompts.WRITE.format(texts=text, question="{why}")
    assert text in prompts.SHORT.format(text=text, question="{why}")
