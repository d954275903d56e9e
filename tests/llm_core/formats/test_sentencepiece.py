"""A SentencePiece vocabulary out of a GGUF file, against its algorithm written out."""

import itertools
import random
from pathlib import Path

import pytest
from gguf import GGUFWriter
from tokenizers import Tokenizer

from llm_core.errors import ModelFileError
from llm_core.formats.gguf import GGUFFile
from llm_core.formats.layout import Keys
from llm_core.formats.vocabulary import read_tokenizer

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
MARKS = ["<unk>", "<s>", "</s>"]
WORDS = ["▁the", "▁then", "the", "en", "he", "th", "▁t", "▁h", "in", "ing", "▁in", "nn", "▁▁", "ไท"]
LETTERS = ["▁", *"aeghintไทย1"]
SCORES = dict(
    zip(WORDS, (-3, -9, -5, -4, -2, -1, -6, -7, -8, -10, -12, -11, -13, -14), strict=True)
)


def write_sentencepiece(path: Path, *, space: bool = True, scores: int | None = None) -> Path:
    """A file with metadata alone: marks, bytes, and pieces with scores."""
    tokens = [*MARKS, *BYTES, *WORDS, *LETTERS]
    values = [0.0] * 259 + [float(SCORES[word]) for word in WORDS]
    values += [-100.0 - n for n in range(len(LETTERS))]
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(values[:scores])
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(space)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def pieces_of(text: str) -> list[str]:
    """Join the neighbours that make the likeliest piece, the first of equals, until none do."""
    parts = list("▁" + text.replace(" ", "▁"))
    while True:
        pairs = [
            (-SCORES[a + b], n)
            for n, (a, b) in enumerate(itertools.pairwise(parts))
            if a + b in SCORES
        ]
        if not pairs:
            break
        at = min(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    known = {*WORDS, *LETTERS}
    return [
        piece
        for part in parts
        for piece in ([part] if part in known else [f"<0x{b:02X}>" for b in part.encode()])
    ]


def built(path: Path) -> Tokenizer:
    return read_tokenizer(Keys(GGUFFile(path)))[0]


def test_text_is_cut_as_the_scores_say(tmp_path: Path) -> None:
    tokenizer, pick = built(write_sentencepiece(tmp_path / "x.gguf")), random.Random(9)
    texts = ["then the inning", "", " ", "é😀", "the  then"]
    texts += ["".join(pick.choices("then ign aไทยé1", k=pick.randrange(30))) for _ in range(400)]
    for text in texts:
        encoded = tokenizer.encode(text)
        wanted = pieces_of(text) if text else []
        assert encoded.tokens == ["<s>", *wanted], text
        assert tokenizer.decode(encoded.ids) == text


def test_a_leading_space_is_added_only_where_the_file_asks(tmp_path: Path) -> None:
    tokenizer = built(write_sentencepiece(tmp_path / "x.gguf", space=False))
    assert tokenizer.encode("the t").tokens == ["<s>", "the", "▁t"]
    assert tokenizer.decode(tokenizer.encode(" the").ids) == " the"


def test_scores_must_be_one_a_token(tmp_path: Path) -> None:
    path = write_sentencepiece(tmp_path / "x.gguf", scores=7)
    with pytest.raises(ModelFileError, match=r"has 7 entries in tokenizer\.ggml\.scores"):
        built(path)
