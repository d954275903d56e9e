"""Small random models on disk, real in every format: for tests that need files, not skill."""

import hashlib
import json
import random
import zipfile
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from tokenizers.pre_tokenizers import ByteLevel

from llm_core.catalogue import Member, PackagedModel

LAYERS, WIDTH, HEADS, KV_HEADS, INNER = 2, 64, 4, 2, 96
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "w"), ("o", "r"), ("Ġw", "or"), ("1", "2")]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def vocabulary() -> list[str]:
    """Control tokens, the 256 byte symbols, and what the merges make."""
    return [*CONTROL, *sorted(ByteLevel.alphabet()), *(a + b for a, b in MERGES)]


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    pre: str = "smollm",
    tied: bool = True,
    extra_tensor: str | None = None,
    seed: int = 0,
) -> Path:
    """Write a random llama of two layers as GGUF, with matrices in Q8_0 and norms in float32."""
    writer = GGUFWriter(path, architecture)
    tokens = vocabulary()
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(tokens) - len(CONTROL)))
    writer.add_token_merges([f"{a} {b}" for a, b in MERGES])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    random_values = np.random.default_rng(seed)
    for name, shape in _shapes(len(tokens), tied, extra_tensor).items():
        values = (random_values.standard_normal(shape) * 0.1).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, values + 1)
        else:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes(tokens: int, tied: bool, extra: str | None) -> dict[str, tuple[int, ...]]:
    key_width = WIDTH // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (tokens, WIDTH)}
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (WIDTH,),
            f"blk.{layer}.attn_q.weight": (WIDTH, WIDTH),
            f"blk.{layer}.attn_k.weight": (key_width, WIDTH),
            f"blk.{layer}.attn_v.weight": (key_width, WIDTH),
            f"blk.{layer}.attn_output.weight": (WIDTH, WIDTH),
            f"blk.{layer}.ffn_norm.weight": (WIDTH,),
            f"blk.{layer}.ffn_gate.weight": (INNER, WIDTH),
            f"blk.{layer}.ffn_up.weight": (INNER, WIDTH),
            f"blk.{layer}.ffn_down.weight": (WIDTH, INNER),
        }
    shapes["output_norm.weight"] = (WIDTH,)
    if not tied:
        shapes["output.weight"] = (tokens, WIDTH)
    if extra is not None:
        shapes[extra] = (WIDTH,)
    return shapes


def write_bert(folder: Path, *, seed: int = 0) -> Path:
    """Write a random BERT of two layers as transformers saves it, with a word-piece tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers.models.bert.configuration_bert import BertConfig
    from transformers.models.bert.modeling_bert import BertModel

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *("##" + c for c in letters), "the"]
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=300,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def random_text(words: int, seed: int) -> str:
    """Return a text of that many random lower-case words, the same for the same seed."""
    pick = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(pick.choices(letters, k=pick.randint(1, 6))) for _ in range(words))


def edit_json(path: Path, **changes: object) -> None:
    """Change top-level fields of a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def write_wheel(folder: Path, package: str, member: str, content: bytes) -> Path:
    """Write a wheel that carries one file, complete enough for pip to download it."""
    info = f"{package}-1.0.dist-info"
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{package}/{member}", content)
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def packaged(wheel: Path) -> PackagedModel:
    """Describe a wheel of `write_wheel` as the catalogue would."""
    data = wheel.read_bytes()
    package = wheel.name.split("-")[0]
    with zipfile.ZipFile(wheel) as archive:
        member = archive.namelist()[0]
        content = archive.read(member)
    return PackagedModel(
        name=package,
        kind="chat",
        package=package,
        version="1.0",
        wheel=wheel.name,
        wheel_sha256=hashlib.sha256(data).hexdigest(),
        wheel_size=len(data),
        members=(
            Member(
                path=member,
                name=member.split("/")[1],
                sha256=hashlib.sha256(content).hexdigest(),
                size=len(content),
            ),
        ),
        licence="Apache-2.0",
        layout=1,
    )
