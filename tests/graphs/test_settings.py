"""Settings from the environment, and what they derive."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graphs.errors import UserError
from graphs.settings import (
    Settings,
    load_settings,
    names_hub,
    sample_documents,
    without_credentials,
)

ROOT = Path(__file__).parents[2]


def test_documents_come_from_the_switch_then_the_environment_then_the_samples(
    monkeypatch: Any,
) -> None:
    monkeypatch.delenv("DEERSTALKER_DOCS", raising=False)
    assert load_settings().documents() == tuple(sample_documents())
    monkeypatch.setenv("DEERSTALKER_DOCS", f"/a{os.pathsep}/b")
    assert load_settings().documents() == (Path("/a"), Path("/b"))
    assert load_settings().documents([Path("/c")]) == (Path("/c"),)


def test_the_samples_are_documents_and_not_their_notes() -> None:
    names = [path.name for path in sample_documents()]
    assert "the-adventures-of-sherlock-holmes.txt" in names and "README.md" not in names


def test_the_same_documents_share_an_index_and_others_do_not(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    assert settings.index_dir([one, two]) == settings.index_dir([two, tmp_path / "." / "one"])
    assert settings.index_dir([one]) != settings.index_dir([two])


def test_repeatable_runs_have_no_clock_among_their_budgets() -> None:
    assert Settings(max_seconds=9).limits().seconds == 9
    assert Settings(max_seconds=9).limits(deterministic=True).seconds is None


@pytest.mark.parametrize(("name", "value"), [("MAX_STEPS", "3"), ("MAX_SECONDS", "-1")])
def test_a_bad_value_is_named(monkeypatch: Any, name: str, value: str) -> None:
    monkeypatch.setenv(f"DEERSTALKER_{name}", value)
    with pytest.raises(UserError, match=f"DEERSTALKER_{name}='{value}'"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:pw@host:1/v1", "http://host:1/v1"),
        ("http://me:p@w@host", "http://host"),
        ("me:pw@host/v1", "host/v1"),
        ("https://host/v1/@me", "https://host/v1/@me"),
        ("no answer from http://me:pw@host/ at all", "no answer from http://host/ at all"),
    ],
)
def test_addresses_are_shown_without_user_and_password(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


STRICT = """
import sys
from graphs.settings import names_hub, settle_process
settle_process(hub=len(sys.argv) > 1)
import os
from langgraph.checkpoint.serde import _msgpack
print(_msgpack.STRICT_MSGPACK_ENABLED, os.environ["LANGSMITH_TRACING"],
      os.environ.get("HF_HUB_OFFLINE"))
"""


@pytest.mark.parametrize(("hub", "offline"), [([], "1"), (["hub"], "None")])
def test_a_command_is_strict_and_silent_from_its_start(hub: list[str], offline: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {"LANGSMITH_TRACING": "true", "LANGGRAPH_STRICT_MSGPACK": "false"}
    command = [sys.executable, "-c", STRICT, *hub]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "false", offline]


def test_only_a_named_hub_model_may_reach_the_hub(tmp_path: Path) -> None:
    assert names_hub("hf:owner/name")
    assert not any(map(names_hub, (f"hf:{tmp_path}", "owner/name", "local:owner/name")))
