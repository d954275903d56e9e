"""Each kind of step that a tokenizer.json may declare, against the Rust library's own."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as RustTokenizer

from llm_core.tokenization import pretokenizers
from llm_core.tokenization.bytelevel import alphabet
from llm_core.tokenization.decoders import build_decoder
from llm_core.tokenization.fast import FastTokenizer
from llm_core.tokenization.normalizers import build_normalizer
from llm_core.tokenization.patterns import LLAMA3, QWEN2
from llm_core.tokenization.reference import Tokenizer

MARKED = ["<mask>", "[A]", "word", "aa", "<\u00c9>"]


def section(part: Any) -> dict[str, Any]:
    """The JSON that the Rust library writes for one of its parts."""
    loaded = json.loads(part.__getstate__())
    assert isinstance(loaded, dict)
    return loaded


def characters() -> Iterator[str]:
    """Every assigned character, in runs and each between letters."""
    codes = [*range(0xD800), *range(0xE000, 0x18D80), *range(0x1B000, 0x1FB00, 3)]
    for start in range(0, len(codes), 5000):
        part = "".join(map(chr, codes[start : start + 5000]))
        yield part
        yield "a" + "a".join(part)


def texts(count: int) -> Iterator[str]:
    """Seeded texts of spaces, digits, marks, line ends and letters of many scripts."""
    seed = random.Random(11)
    pool = "aA\u00e9e\u0301 \t\n\r  \u00a0'sStT'reLL'd123\u0e51\u2167.,!?-_\u4e2d"
    pool += "\u1100\u1161\U0001f642\u017f\u0130\u03a3"
    for _ in range(count):
        yield "".join(
            seed.choice(pool) if seed.random() < 0.9 else chr(seed.randrange(0x3000))
            for _ in range(200)
        )


STEPS = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "llama3": pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
    "qwen2": pre_tokenizers.Split(Regex(QWEN2), "isolated"),
    "classes": pre_tokenizers.Split(Regex(r"\p{Lu}?[\p{Ll}\p{M}]+|\p{S}|\p{P}+"), "removed"),
    "digits": pre_tokenizers.Digits(individual_digits=True),
    "numbers": pre_tokenizers.Digits(individual_digits=False),
    "marks": pre_tokenizers.Punctuation(),
    "bert": pre_tokenizers.BertPreTokenizer(),
    "spaces": pre_tokenizers.WhitespaceSplit(),
}


@pytest.mark.parametrize("name", STEPS)
def test_every_character_is_cut_as_in_the_rust_library(name):
    rust = STEPS[name]
    steps, spelled = pretokenizers.build_steps(section(rust))
    for text in characters():
        wanted = [text[start:end] for _, (start, end) in rust.pre_tokenize_str(text)]
        assert pretokenizers.apply(steps, text) == wanted
    assert spelled is (name == "gpt2")


BEHAVIOURS = ("isolated", "removed", "contiguous", "merged_with_previous", "merged_with_next")


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("invert", [True, False])
@pytest.mark.parametrize("pattern", [Regex(r"[aA]+|\s"), "e", " ", Regex(r"(?i:'s|'re|s)|(?=x)")])
def test_splits_join_their_separators_as_in_the_rust_library(behaviour, invert, pattern):
    rust = pre_tokenizers.Split(pattern, behaviour, invert=invert)
    steps, _ = pretokenizers.build_steps(section(rust))
    for text in texts(20):
        wanted = [piece for piece, _ in rust.pre_tokenize_str(text)]
        assert pretokenizers.apply(steps, text) == wanted


@pytest.mark.parametrize(
    "rust",
    [
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]),
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.Metaspace(),
        pre_tokenizers.Metaspace(prepend_scheme="never"),
        pre_tokenizers.Metaspace(split=False),
    ],
)
def test_sequences_and_spaces_cut_as_in_the_rust_library(rust):
    steps, _ = pretokenizers.build_steps(section(rust))
    for text in [*texts(30), "", " ", "\u2581a\u2581\u2581b"]:
        wanted = [piece for piece, _ in rust.pre_tokenize_str(text)] if text else []
        assert pretokenizers.apply(steps, text) == wanted


NORMALIZERS = {
    "nfc": normalizers.NFC(),
    "nfd": normalizers.NFD(),
    "nfkc": normalizers.NFKC(),
    "nfkd": normalizers.NFKD(),
    "lowercase": normalizers.Lowercase(),
    "bert": normalizers.BertNormalizer(),
    "bert cased": normalizers.BertNormalizer(lowercase=False),
    "bert accents": normalizers.BertNormalizer(clean_text=False, strip_accents=False),
    "replace": normalizers.Replace(Regex(r"\s+"), "\\1_"),
    "llama": normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    ),
    "none": normalizers.Sequence([]),
}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_every_character_is_normalised_as_in_the_rust_library(name):
    rust = NORMALIZERS[name]
    ours = build_normalizer(section(rust))
    for text in [*characters(), *texts(50), ""]:
        assert ours(text) == rust.normalize_str(text)


DECODERS = {
    "bytes": decoders.ByteLevel(),
    "pieces": decoders.WordPiece(),
    "pieces as they are": decoders.WordPiece(prefix="@@", cleanup=False),
    "metaspace": decoders.Metaspace(),
    "metaspace never": decoders.Metaspace(prepend_scheme="never"),
    "llama": decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    ),
    "strip": decoders.Strip("a", 2, 0),
}


@pytest.mark.parametrize("name", DECODERS)
def test_any_tokens_decode_as_in_the_rust_library(name):
    rust = DECODERS[name]
    ours = build_decoder(section(rust))
    seed = random.Random(6)
    pool = [
        "##a",
        "a",
        "aaa",
        " .",
        "n't",
        "'s",
        "##",
        "@@b",
        " do not",
        "\u2581the",
        "\u2581",
        "\u0e01",
    ]
    pool += ["<0xE0>", "<0xB8>", "<0x81>", "<0x41>", "<0xZZ>", "<0x4>", *alphabet()]
    for _ in range(500):
        tokens = seed.choices(pool, k=seed.randrange(1, 12))
        assert "".join(ours(tokens)) == rust.decode(tokens)


def both(rust: RustTokenizer) -> tuple[Tokenizer, FastTokenizer]:
    return Tokenizer(json.loads(rust.to_str())), FastTokenizer(rust.to_str())


def byte_level(**options: bool) -> RustTokenizer:
    """Byte letters, a few merges, two kinds of marks."""
    merges = [
        ("a", "a"),
        ("aa", "a"),
        ("a", "aa"),
        ("\u0120", "a"),
        ("w", "o"),
        ("r", "d"),
        ("wo", "rd"),
    ]
    vocabulary = [*alphabet(), *dict.fromkeys(left + right for left, right in merges)]
    model = models.BPE({token: i for i, token in enumerate(vocabulary)}, merges, **options)
    tokenizer = RustTokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def piece_model(**options: bool) -> RustTokenizer:
    """Letters with an unknown token, bytes only where `byte_fallback` says so."""
    letters = ["<unk>", "\u2581", "a", "b", "\u00e9", "\u2581a", "ab", "\u2581ab"]
    letters += [f"<0x{byte:02X}>" for byte in range(256)]
    merges = [("\u2581", "a"), ("a", "b"), ("\u2581a", "b"), ("\u2581", "ab")]
    ids = {token: index for index, token in enumerate(letters)}
    tokenizer = RustTokenizer(models.BPE(ids, merges, unk_token="<unk>", **options))
    tokenizer.normalizer = NORMALIZERS["llama"]
    tokenizer.decoder = DECODERS["llama"]
    return tokenizer


def suffixed() -> RustTokenizer:
    letters = ["a", "b", "a</w>", "b</w>", "ab", "ab</w>", "?"]
    ids = {token: index for index, token in enumerate(letters)}
    model = models.BPE(ids, [("a", "b</w>"), ("a", "b")], end_of_word_suffix="</w>", unk_token="?")
    tokenizer = RustTokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def prefixed() -> RustTokenizer:
    letters = ["a", "b", "##a", "##b", "ab", "##ab", "aba"]
    ids = {token: index for index, token in enumerate(letters)}
    merges = [("##a", "##b"), ("a", "##b"), ("ab", "##a")]
    return RustTokenizer(models.BPE(ids, merges, continuing_subword_prefix="##"))


@pytest.mark.parametrize(
    "rust",
    [
        byte_level(),
        byte_level(ignore_merges=True),
        piece_model(byte_fallback=True, fuse_unk=True),
        piece_model(fuse_unk=True),
        piece_model(),
        suffixed(),
        prefixed(),
    ],
)
def test_every_kind_of_byte_pair_model_gives_the_ids_of_the_rust_library(rust):
    ours, fast = both(rust)
    seed = random.Random(9)
    samples = ["".join(seed.choices("aab \u00e9wordz\u0e01", k=40)) for _ in range(300)]
    for text in [*samples, *texts(20), "a" * 3000, "ab" * 2000, ""]:
        ids = fast.encode_ids(text)
        assert ours.encode_ids(text) == ids
        assert ours.decode(ids) == fast.decode(ids)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("flag", ["lstrip", "rstrip", "single_word", None])
def test_added_tokens_are_found_as_in_the_rust_library(special, normalized, flag):
    rust = byte_level()
    rust.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.NFC()])
    options = {flag: True} if flag else {}
    rust.add_tokens(
        [AddedToken(t, special=special, normalized=normalized, **options) for t in MARKED]
    )
    ours, fast = both(rust)
    seed = random.Random(4)
    pool = [*MARKED, *(t.lower() for t in MARKED), " ", "  ", "\n", "a", "x", "1", ".", "E\u0301"]
    for _ in range(200):
        text = "".join(seed.choices(pool, k=12))
        for marks in (True, False):
            ids = fast.encode_ids(text, marks=marks)
            assert ours.encode_ids(text, marks=marks) == ids
            for skip in (True, False):
                assert ours.decode(ids, skip_special=skip) == fast.decode(ids, skip_special=skip)


TEMPLATES = [
    None,
    processors.ByteLevel(),
    processors.BertProcessing(("[A]", 270), ("<mask>", 269)),
    processors.RobertaProcessing(("[A]", 270), ("<mask>", 269)),
    processors.TemplateProcessing(
        single="<mask> $A:2 [A]:3",
        pair="$B:1 <mask>:4 $A",
        special_tokens=[("<mask>", 269), ("[A]", 270)],
    ),
    processors.Sequence(
        [
            processors.ByteLevel(),
            processors.TemplateProcessing(
                single="<mask> $A", pair="<mask> $A $B:1", special_tokens=[("<mask>", 269)]
            ),
        ]
    ),
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("special", [True, False])
def test_templates_place_special_tokens_as_in_the_rust_library(template, special):
    rust = byte_level()
    rust.add_special_tokens(MARKED)
    if template is not None:
        rust.post_processor = template
    ours, fast = both(rust)
    for text, second in (("a word", None), ("a", "aaa"), ("", "x"), ("x", ""), ("", None)):
        wanted = fast.encode(text, second, special=special)
        assert ours.encode(text, second, special=special) == wanted
