import json
import math
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from llm_core.__main__ import main
from llm_core.engine import Engine
from llm_core.sampling import Sampling
from llm_core.settings import child_environment

PROMPT = "The blue carbuncle"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEERSTALKER_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("DEERSTALKER_THREADS", "1")


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What a command that succeeds prints on stdout."""
    assert main(argv) == 0
    return capsys.readouterr().out


def replies(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said(capsys, "generate", *argv, "--json"))["replies"]
    return found


def test_generate_prints_what_the_engine_writes(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tiny: Engine
) -> None:
    ids = tiny.tokenizer.encode(PROMPT)
    steps = tiny.generate(ids, max_tokens=6, sampling=Sampling(), stop_ids=tiny.tokenizer.end_ids)
    tokens = [step.token for step in steps]
    model = str(tiny_folder)
    shown = said(capsys, "generate", PROMPT, "--raw", "-n", "6", "--model", model)
    assert shown == tiny.tokenizer.decode(tokens) + "\n"
    (reply,) = replies(capsys, PROMPT, "--raw", "-n", "6", "--model", model, "--logprobs", "3")
    assert [token["id"] for token in reply["tokens"]] == tokens
    for token in reply["tokens"]:
        assert len(token["top"]) == 3
        assert token["logprob"] == pytest.approx(token["top"][0]["logprob"])


def test_generate_writes_a_chat_and_reads_standard_input(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ["--model", str(tiny_folder), "-n", "4", "--system", "Be short."]
    direct = replies(capsys, PROMPT, *model)
    monkeypatch.setattr("sys.stdin", StringIO(PROMPT))
    piped = replies(capsys, "-", *model)
    assert direct[0]["text"] == piped[0]["text"]


def test_a_seed_repeats_a_sampled_reply(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path
) -> None:
    given = [PROMPT, "--model", str(tiny_folder), "-n", "8", "-t", "1.5", "--min-p", "0.01"]
    first, again, other = (
        replies(capsys, *given, "--seed", seed)[0]["tokens"] for seed in ("1", "1", "2")
    )
    assert first == again
    assert first != other


def test_beams_are_shown_best_first_with_each_tokens_probability(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tiny: Engine
) -> None:
    found = replies(
        capsys,
        PROMPT,
        "--raw",
        "--model",
        str(tiny_folder),
        "-n",
        "5",
        "--beams",
        "3",
        "--best",
        "2",
    )
    ids = tiny.tokenizer.encode(PROMPT)
    expected = tiny.beam_search(ids, max_tokens=5, stop_ids=tiny.tokenizer.end_ids, beams=3, best=2)
    assert [[token["id"] for token in reply["tokens"]] for reply in found] == [
        reply.tokens for reply in expected
    ]
    for reply, hypothesis in zip(found, expected, strict=True):
        if hypothesis.finish == "length":  # else the end token counts too
            assert reply["logprob"] == pytest.approx(hypothesis.logprob, abs=0.05)


def test_compare_puts_five_ways_side_by_side(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path
) -> None:
    given = ["generate", PROMPT, "--compare", "--model", str(tiny_folder), "-n", "5", "--seed", "3"]
    lines = said(capsys, *given, "--top-k", "7").splitlines()
    assert lines[0].split("  ")[0] == ""
    for method in ("greedy", "temperature 0.8", "top-k 7", "top-p 0.9", "beam 4"):
        assert method in lines[0]
        assert any(line.startswith(f"{method}: ") for line in lines)
    assert lines[1].startswith("  1  ")
    assert lines[1].count("%") == 5


def test_score_ranks_continuations_by_likelihood(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tiny: Engine
) -> None:
    tails = [" was hidden", " red green", " in"]
    given = ["score", PROMPT, *tails, "--raw", "--model", str(tiny_folder)]
    rows = json.loads(said(capsys, *given, "--json"))["continuations"]
    expected = tiny.score(
        tiny.tokenizer.encode(PROMPT), [tiny.tokenizer.encode(tail) for tail in tails]
    )
    assert [row["text"] for row in rows] == tails
    assert [row["logprob"] for row in rows] == pytest.approx(expected, abs=1e-3)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert rows[0]["per_token"] == pytest.approx(rows[0]["logprob"] / rows[0]["tokens"])
    shown = said(capsys, *given).splitlines()
    best = max(zip(expected, tails, strict=True))[1]
    assert shown[0].endswith(best)


def test_info_shows_shape_formats_files_and_what_runs_the_model(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "weights").write_bytes(b"x" * 1000)
    found = json.loads(said(capsys, "info", str(tiny_folder), "--json"))
    assert found["shape"]["layers"] == 2
    assert found["parameters"] == sum(found["formats"].values())
    assert set(found["formats"]) == {"BF16"}
    assert found["files"]["config.json"] == (tiny_folder / "config.json").stat().st_size
    assert found["runs"]["backend"] == "torch bfloat16"
    assert "stored as BF16" in found["runs"]["because"]
    assert found["cache"]["packed"] == 1000
    text = said(capsys, "info", str(tiny_folder))
    assert "torch bfloat16" in text
    assert f"{found['parameters']:,}" in text


def test_info_names_the_setting_that_chose(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEERSTALKER_DTYPE", "float32")
    found = json.loads(said(capsys, "info", str(tiny_folder), "--json"))
    assert found["runs"]["because"] == "the settings ask for float32"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["generate", "x", "--model", "no-such-model"], "there is no model 'no-such-model'"),
        (["generate", "x", "--best", "2"], "--best 2 needs --beams 2 or more"),
        (["generate", "x", "--beams", "2", "-t", "1"], "--beams 2 draws nothing"),
        (["generate", "x", "--top-p", "0"], "top_p must be above 0"),
        (["info", "/no/such/folder"], "there is no model '/no/such/folder'"),
        (["bench", "--only", "sped", "--model", "."], "lacks"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("prompt", ["", "-"])
def test_an_empty_prompt_is_refused(
    prompt: str,
    capsys: pytest.CaptureFixture[str],
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(""))
    assert main(["generate", prompt, "--raw", "--model", str(tiny_folder)]) == 2
    assert "no token" in capsys.readouterr().err


def test_help_of_every_command_is_quick_and_loads_no_heavy_package() -> None:
    code = (
        "import sys, time; from llm_core.__main__ import _COMMANDS, main; "
        "[main([c.__name__, '--help']) for c in _COMMANDS]; main(['--help']); "
        "heavy = {'torch', 'transformers', 'numpy', 'langchain_core', 'rich'} & {*sys.modules}; "
        "sys.exit(f'{heavy} {time.process_time()}' if heavy or time.process_time() > 0.5 else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "--compare" in ended.stdout
    assert "--no-rivals" in ended.stdout


def test_bench_measures_our_own_models(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path
) -> None:
    given = ["--no-rivals", "--rounds", "1", "--prompt", "8", "--generate", "3", "--threads", "1"]
    parts = ["--only", "speed", "--only", "adapter", "--only", "queue", "--only", "divergence"]
    found = json.loads(said(capsys, "bench", "-m", str(tiny_folder), *given, *parts, "--json"))
    assert found["contenders"]["deerstalker"].startswith("backend torch bfloat16")
    for name in ("deerstalker", "deerstalker torch bfloat16"):
        assert found["speed"]["8"]["decode"][name][0] > 0
        assert 0 <= found["divergence"][name] < 0.1
    assert found["adapter"]["adapter"][0] > 0
    assert found["queue"]["at_once"][0] > 0
    assert math.isfinite(found["divergence"]["deerstalker"])


def test_any_character_is_shown_where_the_terminal_knows_few(tiny_folder: Path) -> None:
    command = [sys.executable, "-m", "llm_core", "score", "é", "ไ", "--model", str(tiny_folder)]
    environment = {**child_environment(), "PYTHONIOENCODING": "ascii"}
    for more in ([], ["--json"]):
        done = subprocess.run(
            [*command, *more], capture_output=True, env=environment, check=True, text=True
        )
        assert "\\u0e44" in done.stdout
