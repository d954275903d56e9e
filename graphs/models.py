"""A chat model from its name: ours, a Hugging Face one, or any of `init_chat_model`."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler

from graphs.budget import CallMeter
from graphs.errors import ServedModelError, UserError
from graphs.settings import HUGGING_FACE, without_credentials
from llm_core.errors import ModelNotFoundError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from pydantic import SecretStr

_REPLY_TOKENS = 256


@dataclass(frozen=True)
class ModelChoice:
    """Which chat model to use and how."""

    name: str
    base_url: str | None = None
    seed: int | None = None
    deterministic: bool = False
    cache_dir: Path | None = None
    api_key: "SecretStr | None" = None


class CountCalls(BaseCallbackHandler):
    """Notes every model call on the meter of the step that makes it."""

    run_inline = True

    def __init__(self, meter: CallMeter) -> None:
        self.meter = meter

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.meter.add()


class NameFailure(BaseCallbackHandler):
    """Turns the failure of a served model, of any provider, into one line that names the model."""

    raise_error = True
    run_inline = True

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        if isinstance(error, Exception):
            reason = without_credentials(str(error).strip()) or type(error).__name__
            raise ServedModelError(
                f"the model {self.identity} failed ({reason[:300]}): see that its server runs and"
                " knows the name, then run the same command again"
            ) from error


def build_chat_model(
    choice: ModelChoice, *, meter: CallMeter, cancel: threading.Event | None = None
) -> "tuple[BaseChatModel, str]":
    """Return the model and its identity for manifests.

    Our own weights load on first use, those of hf:NAME at once.

    Raises UserError or ModelError, naming the value and the mend, where the name is unknown,
    the package of its provider is missing, or a key is.
    """
    if is_ours(choice):
        model, identity = _local(choice, meter, cancel)
    elif choice.name.startswith(HUGGING_FACE):
        model, identity = _hugging_face(choice.name.removeprefix(HUGGING_FACE))
    else:
        address = without_credentials(choice.base_url or "default")
        model, identity = _remote(choice), f"{choice.name}@{address}"
    added: list[BaseCallbackHandler] = [CountCalls(meter)]
    if _is_remote(choice):
        added.append(NameFailure(identity))
    known = model.callbacks if isinstance(model.callbacks, list) else []
    model.callbacks = [*known, *added]
    return model, identity


def is_ours(choice: ModelChoice) -> bool:
    """Whether our own engine runs the model, which alone can repeat itself to the byte."""
    return not choice.name.startswith(HUGGING_FACE) and not _is_remote(choice)


def _is_remote(choice: ModelChoice) -> bool:
    """PROVIDER:NAME, or a bare name that a base URL serves; paths and ours are local."""
    name = choice.name
    if name.startswith(("local:", HUGGING_FACE)) or Path(name).expanduser().exists():
        return False
    return ":" in name or choice.base_url is not None


def _local(
    choice: ModelChoice, meter: CallMeter, cancel: threading.Event | None
) -> "tuple[BaseChatModel, str]":
    from graphs.run_model import RunChatModel
    from llm_core.loading import model_hash, resolve

    identity = model_hash(resolve(choice.name, choice.cache_dir))
    model = RunChatModel(
        model=choice.name,
        seed=choice.seed,
        deterministic=choice.deterministic,
        cache_dir=choice.cache_dir,
    )
    return model.tie(meter, cancel), identity


def _remote(choice: ModelChoice) -> "BaseChatModel":
    from langchain.chat_models import init_chat_model

    options: dict[str, Any] = {"temperature": 0, "max_retries": 2}
    name = choice.name if ":" in choice.name else f"openai:{choice.name}"
    provider = name.split(":", 1)[0]
    if choice.base_url is not None:
        options["base_url"] = choice.base_url
    if provider == "openai":
        if choice.seed is not None:
            options["seed"] = choice.seed
        if choice.api_key is not None:
            options["api_key"] = choice.api_key
        elif choice.base_url is not None:
            options["api_key"] = "not-needed"  # local servers take any key, the client wants one
        else:
            raise UserError(
                f"model {choice.name!r} needs a key: set OPENAI_API_KEY, or give the address of"
                " a server of your own with --base-url"
            )
    try:
        model: BaseChatModel = init_chat_model(name, **options)
        return model
    except ImportError as error:
        raise UserError(f"model {choice.name!r}: {error}") from error
    except Exception as error:  # every provider has errors of its own for a bad name or key
        reason = without_credentials(str(error))
        raise UserError(f"cannot open model {choice.name!r}: {reason}") from error


def _hugging_face(name: str) -> "tuple[BaseChatModel, str]":
    """A model that transformers knows, from a folder or the Hugging Face hub; safetensors only."""
    from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    from llm_core.loading import model_hash

    path = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        weights = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelNotFoundError(
            f"cannot load {HUGGING_FACE}{name} ({first}): give a model folder with safetensors,"
            " or a name of the Hugging Face hub"
        ) from error
    if tokenizer.chat_template is None:
        raise UserError(
            f"{HUGGING_FACE}{name} has no chat template: give an instruction-tuned chat model"
        )
    generate = pipeline(
        "text-generation",
        model=weights,
        tokenizer=tokenizer,
        max_new_tokens=_REPLY_TOKENS,
        do_sample=False,
        return_full_text=False,
    )
    model = ChatHuggingFace(llm=HuggingFacePipeline(pipeline=generate), tokenizer=tokenizer)
    if Path(path).is_dir():
        return model, model_hash(Path(path))
    return model, f"{HUGGING_FACE}{name}@{getattr(weights.config, '_commit_hash', None)}"
