"""The tokenizer of a GGUF file as tokenizer.json and tokenizer_config.json.

Byte-level BPE (`gpt2`) with the pre-tokenizers below, and SentencePiece BPE (`llama`), whose
merges are found again from the scores of its pieces.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llm_core.formats.gguf import shown
from llm_core.formats.layout import Keys
from llm_core.tokenization.patterns import LLAMA3, QWEN2

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)  # kinds of tokens
# How a pre-tokenizer cuts text into words, where not as GPT-2 does.
PATTERNS = {"llama-bpe": LLAMA3, "qwen2": QWEN2}
PRE_TOKENIZERS = ("smollm", "gpt-2", *PATTERNS)
WHOLE_WORDS = ("llama-bpe",)  # a word of the vocabulary is taken without merging
COMPOSED = ("qwen2",)  # text is put into Unicode's composed form first
_SPACE = "▁"  # how SentencePiece writes a space


def read_tokenizer(keys: Keys) -> tuple["Tokenizer", dict[str, Any]]:
    """Build the fast tokenizer and its configuration.

    Raises `ModelFileError` for a tokenizer it does not know and for damaged lists.
    """
    tokens = keys.tokens()
    kinds = _list(keys, "token_type", int, [NORMAL] * len(tokens))
    if len(set(tokens)) != len(tokens):
        keys.refuse("has the same token twice in tokenizer.ggml.tokens")
    model = keys.need("tokenizer.ggml.model")
    if model not in ("gpt2", "llama"):
        keys.refuse(f"has tokenizer.ggml.model {shown(model)}; known: gpt2, llama")
    build = _byte_level if model == "gpt2" else _sentence_piece
    try:
        tokenizer = build(keys, tokens)
        _add_marks(tokenizer, tokens, kinds)
        _mark_ends(keys, tokenizer, tokens)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        keys.refuse(f"has a tokenizer that cannot be built ({error})")
    return tokenizer, _configuration(keys, tokens)


def _list(keys: Keys, name: str, kind: type, default: list[Any] | None = None) -> list[Any]:
    values = keys.file.get(f"tokenizer.ggml.{name}", default)
    if not isinstance(values, list) or (values and not isinstance(values[0], kind)):
        keys.refuse(f"has tokenizer.ggml.{name} {shown(values)}, not a list of {kind.__name__}")
    if name != "merges" and len(values) != len(keys.tokens()):
        keys.refuse(f"has {len(values)} entries in tokenizer.ggml.{name}, not one a token")
    return values


def _byte_level(keys: Keys, tokens: list[str]) -> "Tokenizer":
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    pre = keys.need("tokenizer.ggml.pre")
    if pre not in PRE_TOKENIZERS:
        keys.refuse(f"has tokenizer.ggml.pre {shown(pre)}; known: {', '.join(PRE_TOKENIZERS)}")
    pairs = [tuple(merge.split(" ")) for merge in _list(keys, "merges", str)]
    if any(len(pair) != 2 for pair in pairs):
        keys.refuse("has an entry of tokenizer.ggml.merges that is not two tokens")
    ids = {token: index for index, token in enumerate(tokens)}
    model = _built(models.BPE, vocab=ids, merges=pairs, ignore_merges=pre in WHOLE_WORDS)
    tokenizer = Tokenizer(model)
    pattern = PATTERNS.get(pre)
    steps: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)]
    if pattern is not None:
        steps.insert(0, pre_tokenizers.Split(Regex(pattern), behavior="isolated"))
    if pre == "smollm":  # every digit is a token of its own
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    if pre in COMPOSED:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentence_piece(keys: Keys, tokens: list[str]) -> "Tokenizer":
    from tokenizers import Tokenizer, decoders, models, normalizers

    ids = {token: index for index, token in enumerate(tokens)}
    merges = list(_merges(tokens, _list(keys, "scores", float), ids))
    unknown = tokens[keys.token("unknown", 0)]
    model = _built(
        models.BPE,
        vocab=ids,
        merges=merges,
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    leading = keys.file.get("tokenizer.ggml.add_space_prefix", True)
    steps: list[Any] = [normalizers.Replace(" ", _SPACE)]
    back: list[Any] = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if leading:
        steps.insert(0, normalizers.Prepend(_SPACE))
        back.append(decoders.Strip(" ", 1, 0))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.decoder = decoders.Sequence(back)
    return tokenizer


def _merges(
    tokens: list[str], scores: list[float], ids: dict[str, int]
) -> Iterator[tuple[str, str]]:
    """Every pair of pieces that joins to a piece, the likeliest piece first."""
    found = []
    for token, score in zip(tokens, scores, strict=True):
        if len(token) > 256:
            continue  # no piece: trying every cut of a long text would take for ever
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ids and right in ids:
                found.append((-score, -len(left), -len(right), ids[left], ids[right], left, right))
    for entry in sorted(found):
        yield entry[-2], entry[-1]


def _built(make: Any, **arguments: Any) -> Any:
    """Call a constructor of `tokenizers`, which raises bare exceptions."""
    try:
        return make(**arguments)
    except Exception as error:
        raise ValueError(str(error)) from error


def _add_marks(tokenizer: "Tokenizer", tokens: list[str], kinds: list[int]) -> None:
    from tokenizers import AddedToken

    pairs = list(zip(tokens, kinds, strict=True))
    special = [AddedToken(token, special=True) for token, kind in pairs if kind == CONTROL]
    plain = [AddedToken(token, normalized=False) for token, kind in pairs if kind == USER]
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(plain)
    if tokenizer.get_vocab_size() != len(tokens):
        raise ValueError("a special token is not in its vocabulary")


def _mark_ends(keys: Keys, tokenizer: "Tokenizer", tokens: list[str]) -> None:
    """Let the tokenizer put the start token before a text where the file asks for that."""
    from tokenizers import processors

    if keys.file.get("tokenizer.ggml.add_bos_token") is True:
        index = keys.token("bos")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[tokens[index], "$A"],
            pair=[tokens[index], "$A", tokens[index], "$B"],
            special_tokens=[(tokens[index], index)],
        )


def _configuration(keys: Keys, tokens: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": keys.whole("context_length"),
    }
    eos = keys.token("eos")
    for name, key, default in (
        ("bos_token", "bos", eos),
        ("eos_token", "eos", eos),
        ("pad_token", "padding", eos),
        ("unk_token", "unknown", None),
    ):
        if default is not None or f"tokenizer.ggml.{key}_token_id" in keys.file:
            config[name] = tokens[keys.token(key, default)]
    template = keys.file.get("tokenizer.chat_template")
    if isinstance(template, str) and template:
        config["chat_template"] = template
    return config
