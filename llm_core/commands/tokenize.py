"""`tokenize`: how models split a text, side by side."""

import json
import sys
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_core.catalogue import CHAT, EMBEDDINGS
from llm_core.commands.given import AsJson, text_of

if TYPE_CHECKING:
    from llm_core.tokenization.encoding import Encoding
    from llm_core.tokenization.reference import Tokenizer

Text = Annotated[str, typer.Argument(help='The text to split; "-" reads standard input.')]
Pair = Annotated[
    str | None, typer.Option("--pair", help="A second text, for models that read two together.")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="Default model, folder, .gguf file or local:OWNER/NAME; may be given repeatedly. "
        f"Without it {CHAT} (byte-level BPE) and {EMBEDDINGS} (WordPiece).",
    ),
]
MOST_PADDING = 1 << 20
Pad = Annotated[int, typer.Option("--pad", min=0, max=MOST_PADDING, help="Pad to so many tokens.")]
Special = Annotated[
    bool, typer.Option("--special/--no-special", help="Add the tokens that the model expects.")
]
_HEADINGS = ("token", "id", "type", "mask", "special")
_BESIDE = 2  # models in one table


def tokenize(
    text: Text,
    pair: Pair = None,
    model: Models = None,
    pad: Pad = 0,
    special: Special = True,
    as_json: AsJson = False,
) -> None:
    """Show the tokens of TEXT, their ids, type ids and masks, for each model.

    A space in a token is shown as ␣, a part of a character by its bytes. The attention mask
    (mask) is 0 for padding, the special mask 1 for tokens that stand for no text.
    """
    from llm_core.tokenization.text import whole_characters

    text = whole_characters(text_of(text))
    pair = None if pair is None else whole_characters(pair)
    found = [_split(name, text, pair, pad, special) for name in model or (CHAT, EMBEDDINGS)]
    encoding = (sys.stdout.encoding or "utf-8").lower()
    if as_json:
        whole = {"text": text, "pair": pair, "models": found}
        print(json.dumps(whole, ensure_ascii=not encoding.startswith("utf")))
        return
    for start in range(0, len(found), _BESIDE):
        for line in _table(found[start : start + _BESIDE]):
            print(line.encode(encoding, "backslashreplace").decode(encoding))
        print()


def _split(name: str, text: str, pair: str | None, pad: int, special: bool) -> dict[str, Any]:
    from llm_core.loading import resolve
    from llm_core.settings import load_settings
    from llm_core.tokenization.load import load_tokenizer

    folder = resolve(name, load_settings().cache_dir)
    tokenizer = load_tokenizer(folder)
    encoding = tokenizer.encode(text, pair, special=special)
    count = len(encoding)
    if pad > count:
        token = _padding(folder, tokenizer)
        encoding = encoding.padded(pad, token, tokenizer.token_to_id(token) or 0)
    return {
        "model": name,
        "kind": tokenizer.document["model"].get("type", "BPE"),
        "vocabulary": len(tokenizer),
        "count": count,
        "tokens": _rows(tokenizer, encoding),
        "decoded": tokenizer.decode(encoding.ids),
    }


def _rows(tokenizer: "Tokenizer", encoding: "Encoding") -> list[dict[str, Any]]:
    columns = zip(
        encoding.ids,
        encoding.tokens,
        encoding.type_ids,
        encoding.attention_mask,
        encoding.special_mask,
        strict=True,
    )
    names = set(tokenizer.special_tokens)
    return [
        {
            "id": token_id,
            "token": token,
            "text": token if token in names else _readable(token, tokenizer.byte_level),
            "type_id": type_id,
            "attention": attention,
            "special": special,
        }
        for token_id, token, type_id, attention, special in columns
    ]


def _readable(token: str, byte_level: bool) -> str:
    """The text of one token; of part of a character its bytes, in hexadecimal."""
    if not byte_level:
        return token
    from llm_core.tokenization.bytelevel import piece_bytes

    data = piece_bytes(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"<{data.hex()}>"


def _padding(folder: Path, tokenizer: "Tokenizer") -> str:
    from llm_core.errors import ModelError
    from llm_core.tokenizer import read_settings

    named = read_settings(folder).get("pad_token")
    token = named.get("content") if isinstance(named, dict) else named
    for name in (token, "[PAD]", "<pad>"):
        if isinstance(name, str) and tokenizer.token_to_id(name) is not None:
            return name
    raise ModelError(f"{folder} names no padding token; leave out --pad")


def _table(found: list[dict[str, Any]]) -> list[str]:
    """Lines with the tokens of each model in columns of its own."""
    from rich.cells import cell_len

    blocks = [[_HEADINGS, *(_cells(row) for row in entry["tokens"])] for entry in found]
    widths = [
        [max(cell_len(row[column]) for row in block) for column in range(len(_HEADINGS))]
        for block in blocks
    ]
    titles = [
        f"{entry['model']}: {entry['count']} tokens ({entry['kind']}, {entry['vocabulary']:,})"
        for entry in found
    ]
    whole = [
        max(sum(width) + 2 * (len(width) - 1), cell_len(title))
        for width, title in zip(widths, titles, strict=True)
    ]
    empty = ("",) * len(_HEADINGS)
    lines = ["   ".join(_fitted(t, w) for t, w in zip(titles, whole, strict=True))]
    for rows in zip_longest(*blocks, fillvalue=empty):
        parts = (
            "  ".join(
                _fitted(cell, width, left=column == 0)
                for column, (cell, width) in enumerate(zip(row, sizes, strict=True))
            )
            for row, sizes in zip(rows, widths, strict=True)
        )
        lines.append("   ".join(_fitted(p, w) for p, w in zip(parts, whole, strict=True)))
    return [line.rstrip() for line in lines]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in row["text"])
    numbers = (row["id"], row["type_id"], row["attention"], row["special"])
    return text.replace(" ", "␣"), *map(str, numbers)


def _fitted(text: str, width: int, left: bool = True) -> str:
    """`text` with spaces up to `width` columns of a terminal."""
    from rich.cells import cell_len

    gap = " " * max(0, width - cell_len(text))
    return text + gap if left else gap + text
