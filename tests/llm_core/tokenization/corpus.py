"""Five megabytes of mixed text, the same for every run with one Python."""

import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

SAMPLES = Path(__file__).parents[3] / "samples"
MEGABYTE = 1_000_000
_THAI_MARKS = "\u0e31\u0e34\u0e35\u0e37\u0e48\u0e49\u0e4a\u0e4c\u0e33"
_EMOJI = ((0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF), (0x2600, 0x27BF))
_JOINERS = ("\u200d", "\ufe0f", "\U0001f3fd", "\u20e3", "", "", " ")
_FLAGS = [chr(0x1F1E6 + letter) for letter in range(26)]


def corpus() -> dict[str, list[str]]:
    """Documents by kind, 5 MB of UTF-8 in all."""
    seed = random.Random(20)
    return {
        "english": [_english()],
        "thai": list(_thai(seed, MEGABYTE)),
        "code": list(_code(2 * MEGABYTE)),
        "emoji": list(_emoji(seed, MEGABYTE // 2)),
        "bytes": list(_broken_bytes(seed, MEGABYTE // 2)),
        "characters": list(_any_characters(seed, MEGABYTE // 2)),
    }


def size(documents: list[str]) -> int:
    """Bytes of UTF-8."""
    return sum(len(document.encode()) for document in documents)


def _english() -> str:
    return (SAMPLES / "the-adventures-of-sherlock-holmes.txt").read_text(encoding="utf-8")


def _thai(seed: random.Random, limit: int) -> Iterator[str]:
    """Real words in random sentences, some with a mark too many, as typists leave them."""
    from pythainlp.corpus import thai_words

    words = sorted(thai_words())
    while limit > 0:
        chosen = [seed.choice(words) for _ in range(seed.randrange(20, 400))]
        for _ in range(len(chosen) // 20):
            place = seed.randrange(len(chosen))
            chosen[place] += seed.choice(_THAI_MARKS) + seed.choice(["", " ", " 25\u0e57 "])
        text = "".join(chosen)
        limit -= len(text.encode())
        yield text


def _code(limit: int) -> Iterator[str]:
    """The standard library's own sources, in the order of their names."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_bytes().decode(errors="replace")
        limit -= len(text.encode())
        yield text
        if limit <= 0:
            return


def _emoji(seed: random.Random, limit: int) -> Iterator[str]:
    while limit > 0:
        parts: list[str] = []
        for _ in range(500):
            start, end = seed.choice(_EMOJI)
            parts.append(chr(seed.randrange(start, end + 1)) + seed.choice(_JOINERS))
            if seed.random() < 0.1:
                parts.append(seed.choice(_FLAGS) + seed.choice(_FLAGS))
            if seed.random() < 0.2:
                parts.append(seed.choice([" ok", "!!", "\n", " 5\ufe0f\u20e3", "don't"]))
        text = "".join(parts)
        limit -= len(text.encode())
        yield text


def _broken_bytes(seed: random.Random, limit: int) -> Iterator[str]:
    """Text of which some bytes were overwritten or lost, read as UTF-8 with replacements."""
    source = (
        "na\u00efve \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \U0001f642 x=1;\r\n" * 400
    ).encode()
    while limit > 0:
        data = bytearray(source[: seed.randrange(1000, 12_000)])
        for _ in range(len(data) // 8):
            data[seed.randrange(len(data))] = seed.randrange(256)
        text = bytes(data).decode(errors="replace")
        limit -= len(text.encode())
        yield text


def _any_characters(seed: random.Random, limit: int) -> Iterator[str]:
    """Characters of every plane: unassigned, private, combining without a base, controls."""
    while limit > 0:
        parts = [_character(seed) + " " * (seed.random() < 0.3) for _ in range(4000)]
        text = "".join(parts)
        limit -= len(text.encode())
        yield text


def _character(seed: random.Random) -> str:
    code = seed.choice((0x250, 0x800, 0x3100, 0xFFFF, 0x1FFFF, 0x10FFFF))
    code = seed.randrange(code)
    return "\u0301" if 0xD800 <= code < 0xE000 else chr(code)
