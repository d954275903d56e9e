"""A complete chat model of random weights, small enough to build in a test."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from llm_core.decode import Bias

MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# One that knows tools, in the manner of Qwen 2.5.
TOOL_TEMPLATE = (
    "{%- if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n"
    "{% endfor %}<|im_end|>\n{% endif %}"
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ '\n<tool_call>\n' }}"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_TEXTS = [
    '{"name": "Ann", "age": 12, "tags": ["red", "green"], "ok": true, "none": null}',
    '{"city": "Bangkok", "price": -3.5, "list": [1, 2, 3], "more": {"a": false}}',
    "The blue carbuncle was hidden in the crop of a goose. system user assistant",
]


def build_tiny(
    folder: Path,
    *,
    seed: int = 0,
    window: int = 512,
    spread: float = 0.3,
    hidden: int = 32,
    template: str = TEMPLATE,
) -> Path:
    """Write a two-layer Llama with a byte-level tokenizer; `spread` sets how sure it is."""
    from transformers.models.llama.configuration_llama import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"chat_template": template, "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size() + 5,  # wider than the tokenizer, as real ones are
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=window,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=spread,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    return folder


def build_adapter(folder: Path, *, seed: int = 0, hidden: int = 32, rank: int = 4) -> Path:
    """Write an adapter for all matrices of a tiny model, in the format of the peft library."""
    from safetensors.torch import save_file

    half, twice = hidden // 2, 2 * hidden  # keys and values; the feed-forward layer
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (half, hidden),
        "self_attn.v_proj": (half, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (twice, hidden),
        "mlp.up_proj": (twice, hidden),
        "mlp.down_proj": (hidden, twice),
    }
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(2):
        for name, (rows, columns) in shapes.items():
            path = f"base_model.model.model.layers.{layer}.{name}"
            down = torch.randn(rank, columns, generator=generator) * columns**-0.5
            tensors[f"{path}.lora_A.weight"] = down
            tensors[f"{path}.lora_B.weight"] = torch.randn(rows, rank, generator=generator) * 0.5
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    names = [name.split(".")[1] for name in shapes]
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": names}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=MARKS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXTS * 4, trainer)
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
    return tokenizer


def gained(bias: "Bias") -> dict[int, float]:
    """What each token gains now, where that is anything."""
    found = bias.gains()
    gains = {} if found is None else dict(zip(found[0], map(float, found[1]), strict=True))
    return {token: gain for token, gain in gains.items() if gain}
