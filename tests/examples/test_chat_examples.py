"""The examples of the local chat model, run as a person runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples import extract_fields
from examples.model_by_name import init_chat_model
from graphs.settings import child_environment
from llm_core import LocalChatModel

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.model


def run(name: str, *arguments: str) -> list[str]:
    """What an example prints, line by line."""
    command = [sys.executable, f"examples/{name}.py", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=child_environment(), timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_agent_calls_the_right_one_of_three_tools_and_answers() -> None:
    lines = run("agent_with_tools")
    calls = [line.strip() for line in lines if line.endswith("})")]
    assert calls == [
        "count_word({'word': 'goose'})",
        "days_between({'first': '1890-10-09', 'second': '1891-05-04'})",
        "story_title({'number': 7})",
    ]
    results = [line.strip() for line in lines if line.startswith("  tool: ")]
    assert results == [
        "tool: The word goose occurs 27 times.",
        "tool: 207 days",
        "tool: The Adventure of the Blue Carbuncle",
    ]
    answers = [line for line in lines if line.startswith("  ai: ")]
    for answer, fact in zip(answers, ("27", "207", "Blue Carbuncle"), strict=True):
        assert fact in answer and "{" not in answer


def test_fields_are_read_from_a_page_of_a_story() -> None:
    assert run("extract_fields") == [
        "league         TO THE RED-HEADED LEAGUE",
        "pounds_a_week  4",
        "day            Monday",
        "clock          eleven",
        "person         Duncan Ross",
        "street         Fleet Street",
    ]


def test_a_page_of_ones_own_gives_the_same_fields(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.txt").write_text(
        "The Night Watch pays 2 pounds a week.\n"
        "Apply to Mr. Fordham in Hart Street, on Friday at ten o'clock.\n"
    )
    assert extract_fields.main([str(tmp_path / "page.txt")]) == 0
    fields = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (fields["day"], fields["clock"], fields["pounds_a_week"]) == ("Friday", "ten", "2")


def test_a_conversation_is_streamed_with_its_usage() -> None:
    lines = run("stream_chat")
    assert lines[0] == "> What is the capital of France?" and "Paris" in lines[1]
    assert lines[3] == "> Which river runs through it?" and "Seine" in lines[4]
    read = [int(line.split()[0].strip("[")) for line in lines if "tokens read" in line]
    assert len(read) == 2 and read[1] > read[0]  # the second prompt holds the first reply


def test_the_local_model_answers_where_the_server_does_not() -> None:
    assert run("with_fallbacks") == [
        "answered by smollm2-135m",
        "James Ryder stole the carbuncle.",
    ]


def test_the_model_answers_behind_its_own_server_which_ends_with_the_example() -> None:
    # The server would hold the pipe of the output open if it went on.
    streamed, call, vector = run("behind_a_server")
    assert "Paris" in streamed
    assert call == "('weather', {'city': 'London'})"
    assert vector == "a vector of 384 numbers"


def test_a_model_is_chosen_by_name_and_set_for_each_call() -> None:
    short, long = run("model_by_name")
    assert short.startswith("local:smollm2-135m, 5 tokens: ")
    text, longer = (line.partition(": ")[2].strip("'") for line in (short, long))
    assert len(longer) > len(text) > 0 and longer.startswith(text)


def test_other_names_go_to_langchain() -> None:
    served = init_chat_model(
        "gpt-4o", model_provider="openai", api_key="none", base_url="http://127.0.0.1:9/v1"
    )
    assert type(served).__name__ == "ChatOpenAI"
    assert isinstance(init_chat_model("local:smollm2-135m", seed=3), LocalChatModel)
