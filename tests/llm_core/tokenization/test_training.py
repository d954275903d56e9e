import json
import random
from pathlib import Path

import pytest
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer

from llm_core.errors import ModelError, ModelFileError
from llm_core.tokenization.fast import FastTokenizer
from llm_core.tokenization.load import load_tokenizer
from llm_core.tokenization.patterns import LLAMA3, PRE_TOKENIZERS, QWEN2
from llm_core.tokenization.training import train_bpe, train_wordpiece
from tests.llm_core.tokenization.corpus import SAMPLES

MARKS = ["<|endoftext|>", "<|im_start|>"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    story = (SAMPLES / "the-adventures-of-sherlock-holmes.txt").read_text(encoding="utf-8")
    seed = random.Random(5)
    strange = "".join(chr(seed.randrange(0x20, 0x3000)) for _ in range(3000))
    repeats = "aaaa aaa aaaaaaa abab ababab bababa 1999 20260 \u0e01\u0e01\u0e01 " * 30
    return [story[20_000:80_000], strange, repeats, ""]


def rust_trained(texts: list[str], name: str, size: int, least: int) -> RustTokenizer:
    steps = {
        "gpt2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
        "smollm": [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ],
        "llama3": [
            pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ],
        "qwen2": [
            pre_tokenizers.Split(Regex(QWEN2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ],
    }
    tokenizer = RustTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps[name])
    tokenizer.decoder = decoders.ByteLevel()
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=least,
        special_tokens=MARKS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@pytest.mark.parametrize(("name", "least"), [(name, 0) for name in PRE_TOKENIZERS] + [("gpt2", 9)])
def test_byte_level_training_gives_the_vocabulary_and_merges_of_the_rust_trainer(
    texts, name, least
):
    rust = json.loads(rust_trained(texts, name, 900, least).to_str())
    ours = train_bpe(
        texts, 900, pre_tokenizer=name, special_tokens=MARKS, min_frequency=least
    ).document
    assert ours["model"]["vocab"] == rust["model"]["vocab"]
    assert ours["model"]["merges"] == rust["model"]["merges"]
    assert len(ours["model"]["vocab"]) == (
        900 if least == 0 else 256 + 2 + len(ours["model"]["merges"])
    )


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_a_trained_tokenizer_means_the_same_to_the_rust_library(texts, name):
    ours = train_bpe(texts[:1], 600, pre_tokenizer=name, special_tokens=MARKS)
    rust = FastTokenizer(ours.source)
    seed = random.Random(8)
    for text in [
        *texts,
        *("".join(chr(seed.randrange(1, 0xD800)) for _ in range(500)) for _ in range(10)),
    ]:
        ids = ours.encode_ids(text)
        assert ids == rust.encode_ids(text)
        assert ours.decode(ids) == rust.decode(ids)


def test_every_text_of_bytes_comes_back_as_it_was(texts):
    ours = train_bpe(texts[:1], 400, special_tokens=MARKS)
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x11000), 0x10FFFF]))
    for text in [*texts, everything, "".join(MARKS)]:
        assert ours.decode(ours.encode_ids(text, marks=False)) == text


def test_training_stops_where_no_pair_is_left():
    ours = train_bpe(["aaa"], 1000)
    assert ours.document["model"]["merges"] == [["a", "a"], ["aa", "a"]]
    assert len(ours) == 258


def test_a_trained_word_piece_means_the_same_to_the_rust_library(texts):
    ours = train_wordpiece(texts, 5500)
    rust = FastTokenizer(ours.source)
    assert len(ours) == len(rust) == 5500
    assert len(ours.encode_ids("Sherlock Holmes")) <= 4
    for text in texts:
        assert ours.encode(text, "The dog.") == rust.encode(text, "The dog.")
        assert ours.decode(ours.encode_ids(text)) == rust.decode(rust.encode_ids(text))


def test_the_same_texts_train_the_same_word_pieces(texts):
    assert train_wordpiece(texts, 5000).source == train_wordpiece(texts[::-1], 5000).source


def test_a_trained_tokenizer_can_be_saved_and_read(texts, tmp_path: Path):
    ours = train_bpe(texts[2:], 300, special_tokens=MARKS)
    (tmp_path / "tokenizer.json").write_text(ours.source, encoding="utf-8")
    again = load_tokenizer(tmp_path)
    assert again.document == ours.document
    assert again.encode("aaa <|endoftext|>") == ours.encode("aaa <|endoftext|>")


def test_what_cannot_be_trained_is_said(texts):
    with pytest.raises(ModelError, match="vocabulary of 100 has no room for its 257"):
        train_bpe(texts, 100, special_tokens=["<s>"])
    with pytest.raises(ModelFileError, match="'bloom' is not known; give one of gpt2"):
        train_bpe(texts, 400, pre_tokenizer="bloom")
    with pytest.raises(ModelError, match=r"lack \[UNK\]"):
        train_wordpiece(texts, 5000, special_tokens=["[CLS]", "[SEP]"])
    with pytest.raises(ModelError, match="vocabulary of 9 has no room for its 14"):
        train_wordpiece(["ab abc", "cde"], 9)
