"""Do once, at set-up, what the first question on this machine would otherwise wait for.

The kernel and the embeddings' attention are compiled for the processor, and the weights laid
out for the kernel. `python -m graphs.doctor --fetch` runs it.
"""

from collections.abc import Callable
from contextlib import suppress

from graphs.examine import is_served
from graphs.settings import Settings
from llm_core.backend import open_kernel
from llm_core.checkpoint import open_checkpoint
from llm_core.embeddings import LocalEmbeddings
from llm_core.errors import ModelNotFoundError
from llm_core.loading import resolve
from llm_core.models.config import UnsupportedModelError
from llm_core.settings import Settings as ModelSettings

Report = Callable[[str], None]


def prepare_models(settings: Settings, model_settings: ModelSettings, report: Report) -> None:
    """Make the local models of a run answer their first question as fast as any later one.

    `report` gets a line for each model, for each slow step, and for the reason where the kernel
    cannot be used here. A model that is not on this machine is passed over. Raises ModelError
    as loading the model would.
    """
    with suppress(ModelNotFoundError):
        if not is_served(settings.model, settings):
            folder = resolve(settings.model, model_settings.cache_dir)
            report(f"preparing {settings.model} for this machine")
            with suppress(UnsupportedModelError):  # transformers runs it, with nothing to prepare
                open_kernel(open_checkpoint(folder), model_settings, report)
    with suppress(ModelNotFoundError):
        embeddings = LocalEmbeddings(settings.embeddings, cache_dir=model_settings.cache_dir)
        resolve(settings.embeddings, model_settings.cache_dir, "embeddings")
        report(f"preparing {settings.embeddings} for this machine")
        embeddings.embed_query("ready")  # says on stderr what it compiles
