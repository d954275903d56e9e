import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tokenizers import Tokenizer as RustTokenizer
from typer.testing import CliRunner, Result

from llm_core.catalogue import CHAT, EMBEDDINGS
from llm_core.commands.tokenize import tokenize
from llm_core.errors import ModelError
from llm_core.loading import resolve
from tests.tiny_models import edit_json, write_bert


def run(*arguments: str, text: str | None = None) -> Result:
    app = typer.Typer()
    app.command()(tokenize)
    result = CliRunner().invoke(app, list(arguments), input=text)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    write_bert(folder)
    return folder


def test_two_models_stand_side_by_side(tiny_folder, bert_folder):
    result = run("a carbuncle?", "-m", str(tiny_folder), "-m", str(bert_folder))
    lines = result.stdout.splitlines()
    assert "(BPE, " in lines[0] and "(WordPiece, " in lines[0]
    assert lines[1].split() == ["token", "id", "type", "mask", "special"] * 2
    rust = RustTokenizer.from_file(str(tiny_folder / "tokenizer.json"))
    shown = [line.split()[:2] for line in lines[2:] if line and not line.startswith(" ")]
    wanted = rust.encode("a carbuncle?")
    names = [token.replace("\u0120", "\u2423") for token in wanted.tokens]
    assert shown == [[name, str(token)] for name, token in zip(names, wanted.ids, strict=True)]


def test_the_json_holds_ids_types_and_masks_of_a_pair(bert_folder):
    result = run("one", "--pair", "two", "--pad", "12", "--json", "-m", str(bert_folder))
    (model,) = json.loads(result.stdout)["models"]
    rust = RustTokenizer.from_file(str(bert_folder / "tokenizer.json"))
    rust.no_truncation()
    rust.enable_padding(length=12, pad_id=rust.token_to_id("[PAD]"), pad_token="[PAD]")
    wanted = rust.encode("one", "two")
    assert [token["id"] for token in model["tokens"]] == wanted.ids
    assert [token["type_id"] for token in model["tokens"]] == wanted.type_ids
    assert [token["attention"] for token in model["tokens"]] == wanted.attention_mask
    assert [token["special"] for token in model["tokens"]] == wanted.special_tokens_mask
    assert model["count"] == sum(wanted.attention_mask) < 12


def test_special_tokens_can_be_left_out(bert_folder):
    result = run("one", "--no-special", "--json", "-m", str(bert_folder))
    (model,) = json.loads(result.stdout)["models"]
    assert not any(token["special"] for token in model["tokens"])


def test_parts_of_characters_show_their_bytes_and_controls_are_escaped(tiny_folder):
    result = run("-", "-m", str(tiny_folder), text="\u0e01\n")
    shown = [line.split()[0] for line in result.stdout.splitlines()[2:] if line]
    assert shown == ["<e0>", "<b8>", "<81>", "\\n"]


def test_a_model_without_padding_says_so(tiny_folder, tmp_path):
    for file in tiny_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="names no padding token; leave out --pad"):
        run("x", "--pad", "9", "-m", str(tmp_path))
    edit_json(tmp_path / "tokenizer_config.json", pad_token={"content": "<|endoftext|>"})
    assert run("x", "--pad", "9", "-m", str(tmp_path)).stdout.count("<|endoftext|>") == 8


def test_a_padding_beyond_all_memory_is_refused(tiny_folder):
    result = run("x", "--pad", "1000000000000", "-m", str(tiny_folder))
    assert result.exit_code == 2 and "--pad" in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_the_json_can_be_printed_in_any_encoding(tiny_folder, encoding):
    command = ["tokenize", "\u00e9\u0e01", "--json", "-m", str(tiny_folder)]
    done = subprocess.run(
        [sys.executable, "-m", "llm_core", *command],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["text"] == "\u00e9\u0e01"


@pytest.mark.model
def test_the_default_models_are_shown_without_a_choice():
    result = run("Who hid it?", "--json")
    chat, embeddings = json.loads(result.stdout)["models"]
    for model, name in ((chat, CHAT), (embeddings, EMBEDDINGS)):
        rust = RustTokenizer.from_file(str(resolve(name) / "tokenizer.json"))
        rust.no_padding()
        assert model["model"] == name
        assert [token["id"] for token in model["tokens"]] == rust.encode("Who hid it?").ids
        assert model["decoded"].lower() == "who hid it?"
