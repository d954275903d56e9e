"""Our tokenizer against the Rust library: every id and every character, on real vocabularies."""

import random
from functools import cache

import pytest

from llm_core.catalogue import CHAT, EMBEDDINGS
from llm_core.loading import resolve
from llm_core.tokenization.fast import FastTokenizer
from llm_core.tokenization.load import load_tokenizer
from llm_core.tokenization.reference import Tokenizer
from tests.llm_core.tokenization.corpus import corpus, size

KINDS = ("english", "thai", "code", "emoji", "bytes", "characters")
STREAMED = 20_000  # tokens of a kind of text that are also decoded one by one
documents = cache(corpus)

pytestmark = pytest.mark.model


@cache
def pair(name: str) -> tuple[Tokenizer, FastTokenizer]:
    folder = resolve(name)
    return load_tokenizer(folder), load_tokenizer(folder, fast=True)


def test_the_corpus_is_five_megabytes_of_all_kinds():
    assert sorted(documents()) == sorted(KINDS)
    assert 5_000_000 <= sum(map(size, documents().values())) <= 5_500_000
    assert min(map(size, documents().values())) >= 500_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [CHAT, EMBEDDINGS])
def test_ids_texts_and_streams_equal_the_rust_library(name, kind):
    ours, rust = pair(name)
    streamed = 0
    for text in documents()[kind]:
        ids = rust.encode_ids(text)
        assert ours.encode_ids(text) == ids
        decoded = rust.decode(ids)
        assert ours.decode(ids) == decoded
        if streamed < STREAMED:
            part = ids[: STREAMED - streamed]
            streamed += len(part)
            a, b = ours.stream(), rust.stream()
            assert [a.feed(token) for token in part] == [b.feed(token) for token in part]


@pytest.mark.parametrize("name", [CHAT, EMBEDDINGS])
def test_any_ids_decode_alike_also_where_they_break_characters(name):
    ours, rust = pair(name)
    seed = random.Random(3)
    for _ in range(200):
        ids = [seed.randrange(len(rust) + 9) for _ in range(60)]
        ids += [seed.randrange(300) for _ in range(30)]  # most are single bytes there
        for skip in (True, False):
            assert ours.decode(ids, skip_special=skip) == rust.decode(ids, skip_special=skip)
        a, b = ours.stream(), rust.stream()
        assert [a.feed(token) for token in ids] == [b.feed(token) for token in ids]


@pytest.mark.parametrize("marks", [True, False])
def test_special_tokens_in_text_are_marks_only_where_that_is_asked_for(marks):
    text = "hi <|im_start|>user\nyes<|im_end|> <|endoftext|><|im_start|> [SEP][CLS] <|im_star"
    for name in (CHAT, EMBEDDINGS):
        ours, rust = pair(name)
        ids = rust.encode_ids(text, marks=marks)
        assert ours.encode_ids(text, marks=marks) == ids
        special = {rust.token_to_id(token) for token in rust.special_tokens}
        assert bool(special & set(ids)) is marks


@pytest.mark.parametrize("name", [CHAT, EMBEDDINGS])
@pytest.mark.parametrize("special", [True, False])
def test_masks_and_types_of_texts_and_pairs_equal_the_rust_library(name, special):
    ours, rust = pair(name)
    for text, second in (
        ("Who hid it?", "The goose, w\u00e0s it."),
        ("one", ""),
        ("", "two"),
        ("", None),
    ):
        assert ours.encode(text, second, special=special) == rust.encode(
            text, second, special=special
        )


@pytest.mark.parametrize("name", [CHAT, EMBEDDINGS])
def test_half_characters_are_read_as_replacement_characters(name):
    for tokenizer in pair(name):
        assert tokenizer.encode_ids("a\ud83db \ud83d\ude42") == tokenizer.encode_ids(
            "a\ufffdb \U0001f642"
        )


def test_vocabularies_agree_on_every_entry():
    for name in (CHAT, EMBEDDINGS):
        ours, rust = pair(name)
        assert len(ours) == len(rust) and ours.special_tokens == rust.special_tokens
        tokens = [ours.id_to_token(index) for index in range(len(ours) + 1)]
        assert tokens == [rust.id_to_token(index) for index in range(len(ours) + 1)]
        assert [ours.token_to_id(token) for token in tokens[:-1]] == list(range(len(ours)))
