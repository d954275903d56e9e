"""The BERT family: equal to transformers and to the slow reference, packed or padded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel, XLMRobertaConfig
from transformers import XLMRobertaModel as XlmModel

from llm_core.errors import ModelFileError
from llm_core.jsonfile import read_json
from llm_core.models.encoder import EncoderConfig, attend_padded, first_pool, mean_pool
from llm_core.models.encoder_reference import reference_states
from llm_core.models.encoder_weights import load_encoder

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,  # so that attention is far from even
}
FAMILIES = {
    "bert": (BertModel, BertConfig(**SIZES)),
    "bert with one type": (BertModel, BertConfig(**SIZES, type_vocab_size=1)),
    "bert with tanh gelu": (BertModel, BertConfig(**SIZES, hidden_act="gelu_new")),
    "bert with relu": (BertModel, BertConfig(**SIZES, hidden_act="relu", layer_norm_eps=1e-3)),
    "roberta": (RobertaModel, RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=1)),
    "xlm-roberta": (XlmModel, XLMRobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=5)),
}
LENGTHS = [7, 1, 30, 7, 2]


def write(folder: Path, family: str) -> Path:
    model_class, config = FAMILIES[family]
    torch.manual_seed(3)
    model_class(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def random_ids(lengths: list[int]) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(6, SIZES["vocab_size"], (sum(lengths),))  # no padding id among them


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return write(tmp_path / "bert", "bert")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_equals_transformers(tmp_path: Path, family: str) -> None:
    folder = write(tmp_path, family)
    model_class, _ = FAMILIES[family]
    theirs = model_class.from_pretrained(folder, add_pooling_layer=False).eval()
    ours, ids = load_encoder(folder), random_ids(LENGTHS)
    states = ours.states(ids, LENGTHS)
    assert len(states) == SIZES["num_hidden_layers"] + 1
    rows = [part.split(LENGTHS) for part in states]
    for index, text in enumerate(ids.split(LENGTHS)):
        with torch.no_grad():
            expected = theirs(text[None], output_hidden_states=True).hidden_states
        for layer, state in enumerate(expected):
            torch.testing.assert_close(rows[layer][index], state[0], atol=1e-4, rtol=1e-4)
    assert states[-1].std() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_equals_the_slow_reference(tmp_path: Path, family: str) -> None:
    folder = write(tmp_path, family)
    ours, ids = load_encoder(folder), random_ids(LENGTHS)
    config = EncoderConfig.read(read_json(folder / "config.json"), folder)
    weights = load_file(folder / "model.safetensors")
    rows = [part.split(LENGTHS) for part in ours.states(ids, LENGTHS)]
    for index, text in enumerate(ids.split(LENGTHS)):
        for layer, state in enumerate(reference_states(weights, config, text.tolist())):
            torch.testing.assert_close(rows[layer][index].double(), state, atol=1e-4, rtol=1e-4)


def test_pairs_are_told_apart_by_their_types(bert: Path) -> None:
    ids, types = random_ids([9]), torch.tensor([0] * 4 + [1] * 5)
    theirs = BertModel.from_pretrained(bert, add_pooling_layer=False).eval()
    with torch.no_grad():
        expected = theirs(ids[None], token_type_ids=types[None]).last_hidden_state[0]
    encoder = load_encoder(bert)
    torch.testing.assert_close(encoder(ids, [9], types), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(encoder(ids, [9]), expected, atol=1e-2)
    config = encoder.config
    slow = reference_states(
        load_file(bert / "model.safetensors"), config, ids.tolist(), types.tolist()
    )
    torch.testing.assert_close(slow[-1].float(), expected, atol=1e-4, rtol=1e-4)


def test_a_text_has_the_same_states_alone_and_among_others(bert: Path) -> None:
    encoder, ids = load_encoder(bert), random_ids(LENGTHS)
    together = encoder(ids, LENGTHS).split(LENGTHS)
    for text, states in zip(ids.split(LENGTHS), together, strict=True):
        torch.testing.assert_close(encoder(text, [len(text)]), states, atol=2e-5, rtol=1e-4)


def test_pooling_takes_the_mean_or_the_first_token() -> None:
    states = torch.arange(12.0).view(6, 2)
    lengths = [1, 3, 2]
    assert mean_pool(states, lengths).tolist() == [[0, 1], [4, 5], [9, 10]]
    assert first_pool(states, lengths).tolist() == [[0, 1], [2, 3], [8, 9]]


def test_padded_attention_of_even_and_uneven_texts_is_the_plain_one() -> None:
    torch.manual_seed(0)
    for lengths in ([4, 4, 4], [5, 1, 6], [3]):
        qkv = torch.randn(sum(lengths), 3 * 8)
        whole = attend_padded(qkv, lengths, heads=2)
        for text, means in zip(qkv.split(lengths), whole.split(lengths), strict=True):
            q, k, v = text.view(-1, 3, 2, 4).permute(1, 2, 0, 3)
            plain = (q @ k.transpose(1, 2) / 2).softmax(-1) @ v
            torch.testing.assert_close(means, plain.transpose(0, 1).reshape(-1, 8))


@pytest.mark.parametrize("prefix", ["bert.", "roberta."])
def test_weights_load_whatever_prefix_they_carry(bert: Path, prefix: str) -> None:
    ids = random_ids([5])
    expected = load_encoder(bert)(ids, [5])
    weights = load_file(bert / "model.safetensors")
    save_file({prefix + name: w for name, w in weights.items()}, bert / "model.safetensors")
    assert torch.equal(load_encoder(bert)(ids, [5]), expected)


def test_weights_load_under_the_names_of_the_first_bert(bert: Path) -> None:
    ids = random_ids([5])
    expected = load_encoder(bert)(ids, [5])
    old = {}
    for name, tensor in load_file(bert / "model.safetensors").items():
        if "LayerNorm" in name:
            name = name.replace("weight", "gamma").replace("bias", "beta")
        old[name] = tensor
    save_file(old, bert / "model.safetensors")
    assert torch.equal(load_encoder(bert)(ids, [5]), expected)


@pytest.mark.parametrize("lengths", [[3, 3], [0, 5], [5, -1, 1]])
def test_lengths_that_do_not_fit_the_ids_are_refused(bert: Path, lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="5 ids do not make texts"):
        load_encoder(bert)(random_ids([5]), lengths)


def test_a_text_beyond_the_positions_is_refused(tmp_path: Path) -> None:
    encoder = load_encoder(write(tmp_path, "roberta"))
    assert encoder.config.window == 38  # two of the forty stand before the first token
    assert encoder(random_ids([38]), [38]).isfinite().all()
    with pytest.raises(ValueError, match="at most 38 each"):
        encoder(random_ids([39]), [39])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "t5"}, "'t5' model; embeddings need"),
        ({"hidden_act": "silu"}, "hidden_act 'silu'"),
        ({"position_embedding_type": "relative_key"}, "'relative_key'"),
        ({"hidden_size": -3}, "hidden_size is -3"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000"),
        ({"intermediate_size": 1 << 24}, "does not fit its config.json"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"model_type": "roberta", "pad_token_id": -5}, "pad_token_id is -5"),
        ({"hidden_size": 30}, "hidden_size 30 is not a multiple"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps is 'small'"),
        ({"intermediate_size": 50}, "does not fit its config.json"),
        ({"num_hidden_layers": 4}, "no encoder.layer.3"),
    ],
)
def test_a_config_that_makes_no_encoder_is_named(
    bert: Path, change: dict[str, Any], message: str
) -> None:
    from tests.tiny_models import edit_json

    edit_json(bert / "config.json", **change)
    with pytest.raises(ModelFileError, match=message) as caught:
        load_encoder(bert)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_named(bert: Path) -> None:
    save_file({"lm_head.weight": torch.zeros(3)}, bert / "model.safetensors")
    with pytest.raises(ModelFileError, match="does not hold the weights of a BERT"):
        load_encoder(bert)
