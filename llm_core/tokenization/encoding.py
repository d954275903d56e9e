"""The ids of one text or pair, with the masks a model wants; and the tokens around them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llm_core.errors import ModelFileError
from llm_core.tokenization.sections import Section, unknown_kind


@dataclass(frozen=True)
class Encoding:
    """Parallel lists, one entry a token."""

    ids: list[int]
    tokens: list[str]
    type_ids: list[int]  # 0 for the first text of a pair, 1 for the second
    special_mask: list[int]  # 1 for tokens that stand for no text
    attention_mask: list[int]  # 0 for padding

    def __len__(self) -> int:
        return len(self.ids)

    def __add__(self, other: "Encoding") -> "Encoding":
        return Encoding(
            self.ids + other.ids,
            self.tokens + other.tokens,
            self.type_ids + other.type_ids,
            self.special_mask + other.special_mask,
            self.attention_mask + other.attention_mask,
        )

    def typed(self, type_id: int) -> "Encoding":
        """The same tokens, all of one type."""
        return replace(self, type_ids=[type_id] * len(self))

    def padded(self, length: int, token: str, token_id: int) -> "Encoding":
        """The encoding with padding behind it up to `length` tokens."""
        gap = max(0, length - len(self))
        pad = Encoding([token_id] * gap, [token] * gap, [0] * gap, [1] * gap, [0] * gap)
        return self + pad


def of_text(ids: Sequence[int], tokens: Sequence[str], type_id: int = 0) -> Encoding:
    """The encoding of ordinary tokens."""
    count = len(ids)
    return Encoding(list(ids), list(tokens), [type_id] * count, [0] * count, [1] * count)


def of_special(ids: Sequence[int], tokens: Sequence[str], type_id: int = 0) -> Encoding:
    """The encoding of tokens that a template adds."""
    count = len(ids)
    return Encoding(list(ids), list(tokens), [type_id] * count, [1] * count, [1] * count)


PostProcessor = Callable[[Encoding, Encoding | None, bool], Encoding]


def build_post_processor(section: Section | None) -> PostProcessor:
    """The post-processor of a section; raises `ModelFileError` for a kind that is not known.

    It takes a text's encoding, that of the second text of a pair or None, and whether
    special tokens are added.
    """
    parts = [part for part in _flatten(section) if part.get("type") != "ByteLevel"]
    if not parts:  # ByteLevel only moves offsets
        return _joined
    if len(parts) > 1:
        raise ModelFileError("a tokenizer with two templates is not read")
    part = parts[0]
    match part.get("type"):
        case "TemplateProcessing":
            return _template(part)
        case "BertProcessing":
            return _around(part, second_type=1, doubled=False)
        case "RobertaProcessing":
            return _around(part, second_type=0, doubled=True)
    raise unknown_kind("post-processor", part)


def _flatten(section: Section | None) -> list[Section]:
    if section is None:
        return []
    if section.get("type") == "Sequence":
        return [part for inner in section["processors"] for part in _flatten(inner)]
    return [section]


def _joined(first: Encoding, second: Encoding | None, _special: bool) -> Encoding:
    return first if second is None else first + second.typed(1)


def _template(section: Section) -> PostProcessor:
    named = section["special_tokens"]
    single = [_item(item, named) for item in section["single"]]
    pair = [_item(item, named) for item in section["pair"]]

    def process(first: Encoding, second: Encoding | None, special: bool) -> Encoding:
        out = of_text([], [])
        for item in single if second is None else pair:
            if isinstance(item, Encoding):
                out = out + item if special else out
            else:
                text = first if item[0] == "A" else second
                out = out if text is None else out + text.typed(item[1])
        return out

    return process


def _item(item: Section, named: Section) -> Encoding | tuple[str, int]:
    """One place of a template: the special tokens there, or which text goes there."""
    if "Sequence" in item:
        return item["Sequence"]["id"], int(item["Sequence"]["type_id"])
    entry = named[item["SpecialToken"]["id"]]
    ids = [int(token) for token in entry["ids"]]
    return of_special(ids, entry["tokens"], int(item["SpecialToken"]["type_id"]))


def _around(section: Section, *, second_type: int, doubled: bool) -> PostProcessor:
    """`[CLS] A [SEP] B [SEP]`; RoBERTa writes the separator between the two twice."""

    def mark(name: str, type_id: int) -> Encoding:
        token, token_id = section[name]
        return of_special([int(token_id)], [str(token)], type_id)

    cls, sep, last = mark("cls", 0), mark("sep", 0), mark("sep", second_type)

    def process(first: Encoding, second: Encoding | None, special: bool) -> Encoding:
        if not special:
            return first if second is None else first + second.typed(second_type)
        out = cls + first + sep
        if second is not None:
            out = out + sep if doubled else out
            out += second.typed(second_type) + last
        return out

    return process
