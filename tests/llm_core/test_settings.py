import pytest

from llm_core.errors import ModelError
from llm_core.settings import Settings, load_settings


def test_by_default_everything_is_chosen_for_the_machine(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DEERSTALKER_{name.upper()}", raising=False)
    found = load_settings()
    assert (found.dtype, found.kernel, found.device, found.threads) == ("auto",) * 3 + (None,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DTYPE", "float16"),
        ("KERNEL", "sse"),
        ("DEVICE", "tpu"),
        ("THREADS", "0"),
        ("PREFIX_MB", "-1"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"DEERSTALKER_{name}", value)
    with pytest.raises(ModelError, match=f"DEERSTALKER_{name}='{value}' is not usable"):
        load_settings()
