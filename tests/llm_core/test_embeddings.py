"""LocalEmbeddings: the recipe, independence from the batch, and the LangChain contract."""

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from tokenizers import Tokenizer
from torch import Tensor
from transformers.models.bert.modeling_bert import BertModel

from llm_core.embeddings import LocalEmbeddings
from llm_core.errors import ModelFileError, ModelNotFoundError
from llm_core.models.encoder import Encoder
from tests.tiny_models import edit_json, random_text, write_bert

TEXTS = [random_text(n, seed=n) for n in (3, 40, 1, 17, 17, 2, 90, 5)]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def own_bert(bert: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(bert, tmp_path / "bert"))


def reference(folder: Path, texts: list[str]) -> np.ndarray:
    """The recipe again, by transformers, one text at a time."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    model = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    vectors = []
    for text in texts:
        with torch.no_grad():
            states = model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state
        mean = states[0].mean(dim=0)
        vectors.append((mean / mean.norm()).numpy())
    return np.stack(vectors)


def test_vectors_equal_transformers_with_mean_pooling(bert: Path) -> None:
    ours = LocalEmbeddings(str(bert), batch_tokens=128, dtype="float32").embed_array(TEXTS)
    theirs = reference(bert, TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-3  # the texts do differ


def test_deterministic_vectors_do_not_depend_on_the_batch(bert: Path) -> None:
    model = LocalEmbeddings(str(bert), deterministic=True)
    together = model.embed_array(TEXTS)
    for index, text in enumerate(TEXTS):
        assert model.embed_array([text]).tobytes() == together[index].tobytes()


def test_batched_vectors_agree_with_single_ones(bert: Path) -> None:
    model = LocalEmbeddings(str(bert), batch_tokens=4096, dtype="float32")
    together = model.embed_array(TEXTS)
    alone = np.concatenate([model.embed_array([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("batch_tokens", [1, 30, 100_000])
def test_any_token_budget_gives_every_text_its_vector(bert: Path, batch_tokens: int) -> None:
    vectors = LocalEmbeddings(str(bert), batch_tokens=batch_tokens).embed_array(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_bfloat16_stays_close_to_float32(bert: Path) -> None:
    small = LocalEmbeddings(str(bert), dtype="bfloat16").embed_array(TEXTS)
    full = LocalEmbeddings(str(bert), dtype="float32").embed_array(TEXTS)
    assert (small * full).sum(axis=1).min() > 0.999
    assert small.dtype == np.float32 and not np.array_equal(small, full)


def write_pooling(folder: Path, **content: object) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "content",
    [
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "include_prompt": True},
        {"pooling_mode": "cls", "embedding_dimension": 32},
    ],
)
def test_a_model_that_pools_by_its_first_token_does_so(
    own_bert: Path, content: dict[str, object]
) -> None:
    mean = LocalEmbeddings(str(own_bert), dtype="float32").embed_query("the cat")
    write_pooling(own_bert, **content)
    ours = np.array(LocalEmbeddings(str(own_bert), dtype="float32").embed_query("the cat"))
    ids = Tokenizer.from_file(str(own_bert / "tokenizer.json")).encode("the cat").ids
    model = BertModel.from_pretrained(own_bert, add_pooling_layer=False, dtype=torch.float32)
    with torch.no_grad():
        first = model.eval()(torch.tensor([ids])).last_hidden_state[0, 0]
    np.testing.assert_allclose(ours, (first / first.norm()).numpy(), atol=2e-6)
    assert np.abs(ours - mean).max() > 1e-3


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "max_tokens"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "mean_tokens and cls"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode": [["mean"]]}, r"\['mean'\]"),
        ({"word_embedding_dimension": 32}, "nothing"),
    ],
)
def test_other_ways_to_pool_are_refused(
    own_bert: Path, content: dict[str, object], named: str
) -> None:
    write_pooling(own_bert, **content)
    with pytest.raises(ModelFileError, match=f"pools by {named}"):
        LocalEmbeddings(str(own_bert)).embed_query("x")


def test_a_layer_behind_the_pooling_is_refused(own_bert: Path) -> None:
    kinds = ["Transformer", "Pooling", "Dense"]
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (own_bert / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelFileError, match="module 'Dense'"):
        LocalEmbeddings(str(own_bert)).embed_query("x")


def test_texts_are_cut_at_the_length_the_model_names(own_bert: Path) -> None:
    (own_bert / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    short, long = LocalEmbeddings(str(own_bert), dtype="float32").embed_array(
        ["the the the the", "the the the the cat"]
    )
    np.testing.assert_allclose(short, long, atol=1e-6)


def test_the_compiled_attention_can_be_turned_off(
    bert: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEERSTALKER_KERNEL", "off")
    model = LocalEmbeddings(str(bert), cache_dir=tmp_path, dtype="bfloat16")
    assert np.isfinite(model.embed_query("the cat")).all()
    assert not list(tmp_path.iterdir())


def test_no_text_gives_no_vector(bert: Path) -> None:
    assert LocalEmbeddings(str(bert)).embed_documents([]) == []


def test_empty_text_has_a_vector(bert: Path) -> None:
    assert np.isfinite(LocalEmbeddings(str(bert)).embed_query("")).all()


def test_threads_share_one_model(bert: Path) -> None:
    model = LocalEmbeddings(str(bert), deterministic=True)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(model.embed_query, TEXTS * 4))
    assert results == [model.embed_query(text) for text in TEXTS * 4]


def test_the_thread_count_holds_for_every_caller(bert: Path) -> None:
    model = LocalEmbeddings(str(bert), threads=1)

    def threads_seen(_: int) -> int:
        torch.set_num_threads(2)  # what an earlier task of this thread left
        model.embed_query("the cat")
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert [*one.map(threads_seen, [0]), *other.map(threads_seen, [0])] == [1, 1]


def test_a_query_gets_its_turn_between_the_batches_of_a_collection(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LocalEmbeddings(str(bert), deterministic=True)
    model.embed_query("the")  # loaded
    forward, order = LocalEmbeddings._forward, list[int]()
    with ThreadPoolExecutor(1) as pool:
        asked: list[Future[list[float]]] = []

        def watched(self: LocalEmbeddings, encoder: Encoder, texts: list[list[int]]) -> Tensor:
            order.append(len(texts[0]))
            if not asked:  # a query arrives in the middle of the first batch
                asked.append(pool.submit(model.embed_query, ""))
                while not model._turns.waiting():
                    time.sleep(0.001)
            return forward(self, encoder, texts)

        monkeypatch.setattr(LocalEmbeddings, "_forward", watched)
        model.embed_documents(["the cat"] * 5)
        assert asked[0].result()
    assert len(order) == 6 and order[1] == 2 and len(set(order)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_gets_an_error_instead_of_waiting_for_ever(bert: Path) -> None:
    code = f"""
import os
from llm_core import LocalEmbeddings
from llm_core.errors import ModelError
many, one = (LocalEmbeddings({str(bert)!r}, threads=count) for count in (2, 1))
expected = one.embed_query("the"), many.embed_query("the")
child = os.fork()
if not child:
    if one.embed_query("the") != expected[0]:
        os._exit(1)
    try:
        many.embed_query("the")
    except ModelError as error:
        os._exit(9 if "in the worker" in str(error) else 2)
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "9"


def test_broken_unicode_has_vectors(bert: Path) -> None:
    model = LocalEmbeddings(str(bert), deterministic=True)
    broken, mended = model.embed_documents(["the \ud800 cat", "the \ufffd cat"])
    assert broken == mended
    offsets, _ = model.tokens_and_vectors("\ud83d\ude00 the")
    assert offsets[-1].tolist() == [3, 6]


def test_dimension_and_hash_come_without_the_weights(bert: Path) -> None:
    model = LocalEmbeddings(str(bert))
    assert model.dimension == 32
    assert len(model.model_hash) == 64
    assert model._loaded is None


def test_a_model_of_another_kind_is_named(own_bert: Path) -> None:
    edit_json(own_bert / "config.json", model_type="llama")
    with pytest.raises(
        ModelFileError, match="'llama' model; embeddings need one of the kinds bert, roberta"
    ):
        LocalEmbeddings(str(own_bert)).embed_query("x")


@pytest.mark.parametrize("content", ["{", '{"model": 1}', ""])
def test_a_damaged_tokenizer_is_named(own_bert: Path, content: str) -> None:
    (own_bert / "tokenizer.json").write_text(content)
    with pytest.raises(ModelFileError, match=r"tokenizer\.json cannot be read as a tokenizer"):
        LocalEmbeddings(str(own_bert)).embed_query("x")


def test_the_tokenizer_of_another_model_is_refused(own_bert: Path) -> None:
    tokenizer = Tokenizer.from_file(str(own_bert / "tokenizer.json"))
    tokenizer.add_tokens([f"more {number}" for number in range(500)])
    tokenizer.save(str(own_bert / "tokenizer.json"))
    with pytest.raises(ModelFileError, match="but the weights know"):
        LocalEmbeddings(str(own_bert)).embed_query("x")


def test_a_tokenizer_without_special_tokens_is_refused(own_bert: Path) -> None:
    edit_json(own_bert / "tokenizer.json", post_processor=None)
    with pytest.raises(ModelFileError, match="no special token"):
        LocalEmbeddings(str(own_bert)).embed_query("x")


def test_a_config_without_sizes_is_named_before_anything_is_loaded(own_bert: Path) -> None:
    (own_bert / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelFileError, match="vocab_size is None"):
        _ = LocalEmbeddings(str(own_bert)).dimension


def test_a_cut_weight_file_is_named(own_bert: Path) -> None:
    (own_bert / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ModelFileError, match=r"model\.safetensors is damaged"):
        LocalEmbeddings(str(own_bert)).embed_query("x")


def test_missing_default_model_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"minilm-l6 .* `python -m graphs.doctor --fetch`"):
        LocalEmbeddings(cache_dir=tmp_path).embed_query("x")


@pytest.mark.parametrize("options", [{"batch_tokens": 0}, {"dtype": "int8"}])
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(*options.values())):
        LocalEmbeddings(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_importing_the_class_does_not_import_torch() -> None:
    code = "import sys; from llm_core import LocalEmbeddings; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_loading_does_not_import_the_compiler_of_torch(bert: Path) -> None:
    code = (
        "import sys; from llm_core import LocalEmbeddings; "
        "LocalEmbeddings(sys.argv[1]).embed_query('the cat'); "
        "print('torch._dynamo' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(bert)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"  # it would take more than a second


@pytest.mark.model
def test_the_default_model_puts_meaning_before_words(embeddings: LocalEmbeddings) -> None:
    query, near, far = embeddings.embed_array(
        ["Where was the gem hidden?", "The jewel was inside the goose.", "He hid his cold well."]
    )
    assert query @ near > query @ far + 0.1


PROSE = [
    "It was close upon four before the door opened, and a drunken-looking groom walked in.",
    "Goose.",
    "คดีนี้ซับซ้อน - naïve façade, 42 % \u2014 \U0001f9d0",
    "The game is afoot! " * 60,  # longer than a text may be
    *(random_text(n, seed=n) for n in (5, 60, 120)),
]


@pytest.mark.model
def test_the_default_model_equals_transformers_in_float32(embeddings: LocalEmbeddings) -> None:
    exact = LocalEmbeddings(dtype="float32", cache_dir=embeddings.cache_dir)
    ours = exact.embed_array(PROSE)
    theirs = reference(exact._find(), PROSE)
    assert (ours * theirs).sum(axis=1).min() >= 0.99999
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.model
def test_the_default_model_keeps_its_vectors_in_bfloat16(embeddings: LocalEmbeddings) -> None:
    exact = LocalEmbeddings(dtype="float32", cache_dir=embeddings.cache_dir).embed_array(PROSE)
    for deterministic in (False, True):
        small = LocalEmbeddings(dtype="bfloat16", deterministic=deterministic).embed_array(PROSE)
        assert (small * exact).sum(axis=1).min() >= 0.999


@pytest.mark.model
def test_the_default_model_repeats_its_bytes_when_deterministic() -> None:
    model = LocalEmbeddings(deterministic=True)
    together = model.embed_array(PROSE)
    for index, text in enumerate(PROSE):
        assert model.embed_array([text]).tobytes() == together[index].tobytes()


@pytest.mark.model
class TestLangChainUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[LocalEmbeddings]:
        return LocalEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, object]:
        return {"model": "minilm-l6"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, object], dict[str, object]]:
        return {"DEERSTALKER_CACHE_DIR": "/nowhere"}, {"threads": 1}, {"model": "minilm-l6"}


@pytest.mark.model
class TestLangChainIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[LocalEmbeddings]:
        return LocalEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, object]:
        return {"model": "minilm-l6"}
