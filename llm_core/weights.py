"""Build a causal language model from a folder of safetensors, without the Auto machinery.

For Llama models only the one modelling file of transformers is imported: the rest of that
package costs seconds of start-up.
"""

import json
from pathlib import Path
from typing import Any

import torch

from llm_core.errors import ModelFileError

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def load_causal_lm(folder: Path, dtype: str) -> Any:
    """The model of `folder` in evaluation mode, with full attention in every layer.

    Raises ModelFileError for missing or damaged files and for architectures whose cache
    cannot be shared by prefix (sliding windows, recurrent layers).
    """
    if dtype not in DTYPES:
        raise ModelFileError(f"dtype {dtype!r} is unknown: use one of {', '.join(DTYPES)}")
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ModelFileError(f"{path} cannot be read as a model config: {err}") from err
    kinds = set(config.get("layer_types") or [])
    if kinds - {"full_attention"} or config.get("use_sliding_window"):
        raise ModelFileError(
            f"{folder} is a {config.get('model_type')!r} model without full attention in every "
            "layer, which this engine does not run; load it as hf:NAME"
        )
    if config.get("model_type") == "llama":
        return _load_llama(folder, config, DTYPES[dtype])
    return _load_other(folder, DTYPES[dtype])


def _load_llama(folder: Path, config: dict[str, Any], dtype: torch.dtype) -> Any:
    from transformers.models.llama.configuration_llama import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaRotaryEmbedding

    settings = LlamaConfig(**config)
    settings._attn_implementation = "sdpa"
    # Built without storage: the weights are assigned, and only rotary tables are computed.
    with torch.device("meta"):
        model = LlamaForCausalLM(settings)
    state = {name: value.to(dtype) for name, value in _read_tensors(folder).items()}
    missing, unknown = model.load_state_dict(state, strict=False, assign=True)
    if settings.tie_word_embeddings and "lm_head.weight" in missing:
        missing = [name for name in missing if name != "lm_head.weight"]
        model.lm_head.weight = model.model.embed_tokens.weight
    if missing or unknown:
        raise ModelFileError(
            f"the weights in {folder} do not fit its config: {len(missing)} missing, "
            f"{len(unknown)} unknown, such as {[*missing, *unknown][0]}"
        )
    model.model.rotary_emb = LlamaRotaryEmbedding(settings)
    model.train(False)
    return model.requires_grad_(False)


def _load_other(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="sdpa",
        )
    except (OSError, ValueError) as err:
        reason = str(err).strip().split("\n", 1)[0]
        raise ModelFileError(f"{folder} cannot be loaded: {reason}") from err
    model.train(False)
    return model.requires_grad_(False)


def _read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelFileError(f"{folder} holds no .safetensors file")
    state: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            state.update(load_file(file))
        except (OSError, SafetensorError) as err:
            raise ModelFileError(f"{file} is damaged: {err}") from err
    return state
