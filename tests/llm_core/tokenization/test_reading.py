import copy
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llm_core.catalogue import CHAT
from llm_core.errors import ModelFileError
from llm_core.loading import resolve
from llm_core.tokenization.fast import FastTokenizer
from llm_core.tokenization.load import load_tokenizer
from llm_core.tokenization.reference import Tokenizer
from llm_core.tokenization.training import train_bpe, train_wordpiece
from llm_core.tokenizer import TextTokenizer

TEXT = ["the goose hid the carbuncle in the crop, 1892"]
WIDTH = 600
LLAMA = {
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "_"}]},
    "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    },
}


def documents() -> list[dict[str, Any]]:
    bytes_ = dict(train_bpe(TEXT, 290, pre_tokenizer="qwen2", special_tokens=["<s>"]).document)
    return [bytes_, dict(train_wordpiece(TEXT, 50).document), {**bytes_, **LLAMA}]


def damage(node: Any, seed: random.Random) -> None:
    """Change, drop or replace one random entry somewhere in `node`."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = seed.choice(keys)
        if isinstance(node[key], dict | list) and seed.random() < 0.8:
            node = node[key]
            continue
        if seed.random() < 0.3:
            del node[key]
        else:
            node[key] = seed.choice(
                [None, -1, 3.5, "", "x y", [], {}, True, [[["a"]]], "[", 10**30]
            )
        return


def test_damage_that_shows_when_a_text_is_encoded_is_named_too():
    bad = documents()[1]
    del bad["model"]["vocab"]["[UNK]"]
    with pytest.raises(ModelFileError, match="the tokenizer document is damaged: WordPiece error"):
        FastTokenizer(json.dumps(bad)).encode("\u0e01")


@pytest.mark.parametrize("which", range(3))
def test_a_damaged_document_is_read_or_refused_in_one_line(which):
    seed = random.Random(which)
    good = documents()[which]
    refused = 0
    for _ in range(300):
        bad = copy.deepcopy(good)
        damage(bad, seed)
        try:
            tokenizer = Tokenizer(bad)
            encoding = tokenizer.encode(*TEXT, "a goose")
            tokenizer.decode(encoding.ids)
        except ModelFileError as err:
            refused += 1
            assert "\n" not in str(err)
    assert 50 < refused < 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer 'Whitespace' of the tokenizer"),
        ({"normalizer": {"type": "Nmt"}}, "normalizer 'Nmt' of the tokenizer is not one"),
        ({"decoder": {"type": "CTC"}}, "decoder 'CTC' of the tokenizer is not one"),
        ({"post_processor": {"type": "New"}}, "post-processor 'New' of the tokenizer is not one"),
        ({"model": {"type": "Unigram", "vocab": []}}, "model 'Unigram' is not one"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "vocabulary is empty"),
        (
            {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}},
            "merge 0 of the tokenizer, 'a b', does not join two tokens of its vocabulary",
        ),
        ({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, r"lacks its unknown token '\[UNK\]'"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "dropout": 0.1}}, "dropout 0.1 is random"),
        ({"model": None}, "document is damaged"),
    ],
)
def test_what_is_not_known_is_named(change, message):
    with pytest.raises(ModelFileError, match=message):
        Tokenizer({**documents()[0], **change})


@pytest.mark.parametrize("fast", [True, False])
def test_a_damaged_file_is_named(tmp_path: Path, fast):
    with pytest.raises(ModelFileError, match=f"{tmp_path} has no tokenizer.json"):
        load_tokenizer(tmp_path, fast=fast)
    path = tmp_path / "tokenizer.json"
    for content in (b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"version": "1.0"}'):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=f"{path} cannot be read as a tokenizer"):
            load_tokenizer(tmp_path, fast=fast)


def test_the_reference_does_all_that_the_engine_asks_of_a_tokenizer(tiny_folder):
    ours, rust = (TextTokenizer(tiny_folder, WIDTH, fast=fast) for fast in (False, True))
    assert (ours.end_ids, ours.marks) == (rust.end_ids, rust.marks)
    assert ours.id_of("<|im_end|>") == rust.id_of("<|im_end|>")
    assert ours.id_of("no such token") is None is rust.id_of("no such token")
    text = 'say {"name": "\u0e01\U0001f642"}<|im_end|> 1892'
    for marks in (True, False):
        ids = rust.encode(text, marks=marks)
        assert ours.encode(text, marks=marks) == ids
        assert ours.decode(ids) == rust.decode(ids)
        a, b = ours.stream(), rust.stream()
        assert [a.feed(token) for token in ids] == [b.feed(token) for token in ids]
    assert ours.pieces == rust.pieces and len(ours.pieces) == WIDTH
    assert ours.tables.decode_str(ids) == rust.tables.decode_str(ids)


def test_a_stream_waits_for_the_last_byte_of_a_character():
    tokenizer = train_bpe(["x"], 300)
    stream = tokenizer.stream()
    fed = [stream.feed(token) for token in tokenizer.encode_ids("a\U0001f642b")]
    assert fed == ["a", "", "", "", "\U0001f642", "b"]


@pytest.mark.model
def test_a_gguf_file_holds_the_tokenizer_of_its_model():
    folder = resolve(CHAT)
    text = "Who hid 12 blue carbuncles?<|im_end|>\n \u0e01\u0e32"
    wanted = load_tokenizer(folder, fast=True).encode(text)
    for fast in (True, False):
        assert load_tokenizer(folder / "model.gguf", fast=fast).encode(text) == wanted


@pytest.mark.model
def test_the_usual_path_never_loads_the_reference():
    code = (
        "import sys; from pathlib import Path; from llm_core.tokenizer import TextTokenizer; "
        "t = TextTokenizer(Path(sys.argv[1]), 49152); t.encode('a b'); "
        "print([m for m in sys.modules if m.startswith('llm_core.tokenization.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(resolve(CHAT))], capture_output=True, text=True, check=True
    )
    assert "llm_core.tokenization.fast" in done.stdout
    assert "reference" not in done.stdout and "pretokenizers" not in done.stdout


def test_what_is_read_can_be_written_and_read_again():
    for document in documents():
        tokenizer = Tokenizer(document)
        again = Tokenizer(json.loads(tokenizer.source))
        assert again.encode("a carbuncle", "b") == tokenizer.encode("a carbuncle", "b")


def test_a_chat_template_that_is_no_text_is_named(tiny_folder, tmp_path: Path):
    for file in tiny_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(ModelFileError, match=r"chat_template\.jinja cannot be read"):
        TextTokenizer(tmp_path, WIDTH)
