"""From tokens back to text, as `tokenizer.json` declares it."""

from collections.abc import Callable, Sequence

from llm_core.tokenization.bytelevel import piece_bytes
from llm_core.tokenization.sections import Section, compile_pattern, unknown_kind

Decoder = Callable[[list[str]], list[str]]
_CLEANED = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
    (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


def build_decoder(section: Section | None) -> Decoder:
    """The decoder of a `tokenizer.json` section; raises `ModelFileError` for another kind."""
    if section is None:
        return lambda tokens: [" ".join(tokens)]
    match section.get("type"):
        case "Sequence":
            return _chain([build_decoder(part) for part in section["decoders"]])
        case "ByteLevel":
            return _byte_level
        case "WordPiece":
            return _word_piece(str(section["prefix"]), bool(section["cleanup"]))
        case "ByteFallback":
            return _byte_fallback
        case "Fuse":
            return lambda tokens: ["".join(tokens)]
        case "Replace":
            return _replace(section)
        case "Strip":
            return _strip(str(section["content"]), int(section["start"]), int(section["stop"]))
        case "Metaspace":
            return _metaspace(section)
    raise unknown_kind("decoder", section)


def _chain(steps: Sequence[Decoder]) -> Decoder:
    def decode(tokens: list[str]) -> list[str]:
        for step in steps:
            tokens = step(tokens)
        return tokens

    return decode


def _byte_level(tokens: list[str]) -> list[str]:
    return [b"".join(map(piece_bytes, tokens)).decode(errors="replace")]


def _word_piece(prefix: str, cleanup: bool) -> Decoder:
    def decode(tokens: list[str]) -> list[str]:
        out: list[str] = []
        for place, token in enumerate(tokens):
            if place:
                going_on = token.startswith(prefix)
                token = token[len(prefix) :] if going_on else " " + token
            if cleanup:
                for before, after in _CLEANED:
                    token = token.replace(before, after)
            out.append(token)
        return out

    return decode


def _byte_fallback(tokens: list[str]) -> list[str]:
    out: list[str] = []
    pending = bytearray()
    for token in [*tokens, None]:
        byte = None if token is None else _named_byte(token)
        if byte is not None:
            pending.append(byte)
            continue
        if pending:
            out += _characters(bytes(pending))
            pending.clear()
        if token is not None:
            out.append(token)
    return out


def _named_byte(token: str) -> int | None:
    """The byte of a token such as `<0x0A>`."""
    if len(token) != 6 or not token.startswith("<0x") or not token.endswith(">"):
        return None
    try:
        return int(token[3:5], 16)
    except ValueError:
        return None


def _characters(data: bytes) -> list[str]:
    try:
        return [data.decode()]
    except UnicodeDecodeError:
        return ["\ufffd"] * len(data)


def _replace(section: Section) -> Decoder:
    pattern, content = compile_pattern(section["pattern"]), str(section["content"])
    return lambda tokens: [pattern.sub(lambda _: content, token) for token in tokens]


def _strip(letter: str, start: int, stop: int) -> Decoder:
    def strip(token: str) -> str:
        left = 0
        while left < min(start, len(token)) and token[left] == letter:
            left += 1
        right = len(token)
        while right > max(left, len(token) - stop) and token[right - 1] == letter:
            right -= 1
        return token[left:right]

    return lambda tokens: [strip(token) for token in tokens]


def _metaspace(section: Section) -> Decoder:
    letter = str(section["replacement"])
    drops_first = section.get("prepend_scheme", "always") != "never"

    def decode(tokens: list[str]) -> list[str]:
        first, rest = tokens[:1], tokens[1:]
        gap = "" if drops_first else " "
        return [t.replace(letter, gap) for t in first] + [t.replace(letter, " ") for t in rest]

    return decode
