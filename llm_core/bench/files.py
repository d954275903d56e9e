"""The files that contenders read: the same weights in the formats of each, and a test adapter."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llm_core.bench.contender import Contender, Recipe
from llm_core.checkpoint import GGUF_NAME, open_checkpoint

_TARGETS = {  # where a projection sits in a layer
    "q_proj": "self_attn",
    "k_proj": "self_attn",
    "v_proj": "self_attn",
    "o_proj": "self_attn",
    "gate_proj": "mlp",
    "up_proj": "mlp",
    "down_proj": "mlp",
}
LLAMA = "llm_core.bench.llama_cpp_worker"
_TRIAL = (512, 64)  # tokens of prompt and of reply in a trial of llama.cpp's settings


class RivalFiles:
    """Weights of one model folder for its rivals, written to `scratch` where they are missing."""

    def __init__(self, folder: Path, scratch: Path, say: Callable[[str], None]) -> None:
        self._folder, self._scratch, self._say = folder, scratch, say
        self._made: dict[str, Path] = {}

    def floats(self, dtype: str) -> Path:
        """A folder of safetensors in `dtype` (bfloat16 or float32) for transformers."""
        if dtype == "bfloat16" and any(self._folder.glob("*.safetensors")):
            return self._folder
        if dtype not in self._made:
            self._say(f"write the weights as {dtype} safetensors")
            self._made[dtype] = write_floats(self._folder, self._scratch / dtype, dtype)
        return self._made[dtype]

    def llama(self, kinds: Sequence[str], threads: int, window: int, python: str) -> list[Recipe]:
        """llama.cpp on the stored GGUF file and on copies of other types, each at its best.

        Empty where the folder holds no GGUF file.
        """
        source = self._folder / GGUF_NAME
        if not source.is_file():
            self._say(f"{self._folder} holds no {GGUF_NAME}: llama.cpp is left out")
            return []
        found = []
        for kind in kinds:
            path, name = (
                (source, main_kind(self._folder))
                if kind == "stored"
                else (self._quantized(source, kind, python), kind)
            )
            load = {"path": str(path), "window": window, "threads": threads}
            found.append(self._best(Recipe(f"llama.cpp {name}", LLAMA, load, python)))
        return found

    def _quantized(self, source: Path, kind: str, python: str) -> Path:
        path = self._scratch / f"{kind}.gguf"
        self._say(f"write the weights as {kind}")
        with Contender(Recipe("llama.cpp", LLAMA, {}, python)) as worker:
            worker.ask("quantize", source=str(source), target=str(path), kind=kind)
        return path

    def _best(self, recipe: Recipe) -> Recipe:
        """The recipe with flash attention on or off, whichever is faster here."""
        recipes = [
            Recipe(recipe.name, recipe.module, {**recipe.load, "flash": flash}, recipe.python)
            for flash in (False, True)
        ]
        prompt = list(range(1000, 1000 + _TRIAL[0]))
        seconds: list[list[float]] = [[], []]
        for _ in range(2):
            for index, one in enumerate(recipes):
                self._say(f"{one.name}: try flash attention {'on' if index else 'off'}")
                with Contender(one) as worker:
                    worker.load()
                    worker.ask("speed", prompt=prompt[:32], generate=4)
                    seconds[index].append(
                        worker.ask("speed", prompt=prompt, generate=_TRIAL[1])["wall"]
                    )
        return recipes[min(seconds[1]) < min(seconds[0])]


def main_kind(folder: Path) -> str:
    """The number format that most of a model's values are stored in, such as `Q4_1`."""
    checkpoint = open_checkpoint(folder)
    sizes: Counter[str] = Counter()
    for name in checkpoint.names:
        values = 1
        for side in checkpoint.shape(name):
            values *= side
        sizes[checkpoint.kind(name)] += values
    return sizes.most_common(1)[0][0]


def write_floats(folder: Path, target: Path, dtype: str) -> Path:
    """Write a model folder's weights to `target` as safetensors in `dtype`."""
    import torch
    from safetensors.torch import save_file

    checkpoint = open_checkpoint(folder)
    kind = getattr(torch, dtype)
    tensors = {
        name: checkpoint.tensor(name).to(kind).contiguous() for name in sorted(checkpoint.names)
    }
    target.mkdir()
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = {**checkpoint.config, "dtype": dtype, "torch_dtype": dtype}
    config.pop("quantization_config", None)
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for file in folder.glob("*.json"):
        if file.name not in ("config.json", "manifest.json"):
            shutil.copy(file, target)
    return target


def random_adapter(folder: Path, target: Path, rank: int) -> Path:
    """Write a LoRA adapter in PEFT's format with small random weights on every projection."""
    import torch
    from safetensors.torch import save_file

    checkpoint = open_checkpoint(folder)
    random = torch.Generator().manual_seed(0)
    pairs: dict[str, Any] = {}
    for layer in range(int(checkpoint.config["num_hidden_layers"])):
        for name, block in _TARGETS.items():
            path = f"model.layers.{layer}.{block}.{name}"
            rows, columns = checkpoint.shape(f"{path}.weight")
            for side, shape in (("A", (rank, columns)), ("B", (rows, rank))):
                values = torch.randn(shape, generator=random) * 0.01
                pairs[f"base_model.model.{path}.lora_{side}.weight"] = values
    target.mkdir()
    save_file(pairs, target / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(_TARGETS),
    }
    (target / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return target
