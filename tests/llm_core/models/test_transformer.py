"""The encoder-decoder: equal to torch, to Marian and to the slow reference; cached or not."""

import ast
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import MarianConfig, MarianMTModel

import llm_core
from llm_core.models.positions import sinusoids
from llm_core.models.search import beam_search, greedy_search
from llm_core.models.transformer import Transformer, TransformerConfig
from llm_core.models.transformer_reference import reference_logits

TINY = TransformerConfig(
    source_vocab=23,
    target_vocab=19,
    width=24,
    inner=40,
    heads=3,
    encoder_layers=2,
    decoder_layers=2,
    max_length=32,
)
POSITIONS = ["sinusoidal", "learned", "rotary"]
START, END = 1, 0


def tiny(seed: int = 0, **changes: Any) -> Transformer:
    """A random model whose weights are large enough that every part of it matters."""
    torch.manual_seed(seed)
    model = Transformer(dataclasses.replace(TINY, **changes)).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter) * (0.4 if parameter.dim() > 1 else 0.2)
        parameter.copy_(noise + 1 if name.endswith("norm.weight") else noise)
    return model


def ids(*shape: int, vocab: int = 19, seed: int = 1) -> Tensor:
    return torch.randint(2, vocab, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_logits_equal_the_slow_reference(positions: str, activation: str) -> None:
    model = tiny(positions=positions, activation=activation, norm_eps=1e-3)
    source, target = ids(1, 9), ids(1, 7, seed=2)
    expected = reference_logits(
        model.state_dict(), model.config, source[0].tolist(), target[0].tolist()
    )
    torch.testing.assert_close(model(source, target)[0].double(), expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.5


def test_positions_matter_and_each_kind_differs() -> None:
    source, target = ids(1, 6), ids(1, 5)
    for positions in POSITIONS:
        model = tiny(positions=positions)
        turned = model(source.flip(1), target)
        assert not torch.allclose(model(source, target), turned, atol=1e-2)
    assert not torch.allclose(tiny(positions="rotary")(source, target), tiny()(source, target))


def torch_twin(model: Transformer) -> nn.Transformer:
    """torch's own Transformer with the same weights, without the norms it adds at the ends."""
    config = model.config
    options: dict[str, Any] = {"dropout": 0.0, "activation": config.activation, "batch_first": True}
    sizes = (config.width, config.heads, config.inner)
    encoder_layer = nn.TransformerEncoderLayer(*sizes, **options)
    encoder = nn.TransformerEncoder(
        encoder_layer, config.encoder_layers, enable_nested_tensor=False
    )
    decoder_layer = nn.TransformerDecoderLayer(*sizes, **options)
    decoder = nn.TransformerDecoder(decoder_layer, config.decoder_layers)
    twin = nn.Transformer(*sizes[:2], custom_encoder=encoder, custom_decoder=decoder, **options)
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        part, _, rest = name.partition(".")
        if part not in ("encoder", "decoder"):
            continue
        layer, block, *inner = rest.split(".")
        cross = part == "decoder"
        norms = {"close_attention": 1, "close_cross": 2, "close_feed_forward": 2 + cross}
        heads = {"attention": "self_attn", "cross": "multihead_attn"}
        at = f"{part}.layers.{layer}"
        if block in norms:
            state[f"{at}.norm{norms[block]}.{inner[-1]}"] = tensor
        elif block == "feed_forward":
            state[f"{at}.linear{1 if inner[0] == 'up' else 2}.{inner[-1]}"] = tensor
        elif inner[0] == "out":
            state[f"{at}.{heads[block]}.out_proj.{inner[-1]}"] = tensor
        else:
            fused = f"{at}.{heads[block]}.in_proj_{inner[-1]}"
            parts = [model.state_dict()[f"{part}.{layer}.{block}.{p}.{inner[-1]}"] for p in "qkv"]
            state[fused] = torch.cat(parts)
    twin.load_state_dict(state)
    return twin.eval()


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_logits_equal_torch_with_padded_sources(activation: str) -> None:
    model = tiny(activation=activation)
    source, target, lengths = ids(3, 9), ids(3, 7, seed=2), torch.tensor([9, 4, 1])
    twin, scale = torch_twin(model), model.config.width**0.5
    table = sinusoids(9, model.config.width)
    hidden = torch.arange(9) >= lengths[:, None]
    with torch.no_grad():
        states = twin(
            model.source(source) * scale + table,
            model.target(target) * scale + table[:7],
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(7),
            src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
        )
        expected = model.head(states)
    torch.testing.assert_close(model(source, target, lengths), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("positions", POSITIONS)
def test_padding_changes_nothing(positions: str) -> None:
    model = tiny(positions=positions)
    source, target, lengths = ids(3, 9), ids(3, 7, seed=2), [9, 4, 1]
    together = model(source, target, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = model(source[row : row + 1, :length], target[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-4)


def test_no_row_sees_what_comes_after_it() -> None:
    model, source, target = tiny(), ids(1, 6), ids(1, 7, seed=2)
    changed = target.clone()
    changed[0, 4:] = 3
    before, after = model(source, target)[0], model(source, changed)[0]
    torch.testing.assert_close(before[:4], after[:4])
    assert not torch.allclose(before[4], after[4], atol=1e-2)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("steps", [[1] * 7, [3, 1, 3], [6, 1]])
def test_cached_decoding_equals_one_pass(positions: str, steps: list[int]) -> None:
    model = tiny(positions=positions)
    source, target, lengths = ids(2, 9), ids(2, 7, seed=2), torch.tensor([9, 5])
    memory, mask = model.encode(source, lengths)
    cache = model.new_cache(memory, 7)
    parts = [model.decode(part, cache, mask) for part in target.split(steps, dim=1)]
    whole = model(source, target, lengths)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-4)


def test_selected_rows_go_on_as_their_own_sequences() -> None:
    model, source, target = tiny(), ids(2, 6), ids(2, 4, seed=2)
    memory, _ = model.encode(source)
    cache = model.new_cache(memory, 6)
    model.decode(target, cache, None)
    cache.select(torch.tensor([1, 1, 0]))
    then = ids(3, 2, seed=3)
    rows = torch.tensor([1, 1, 0])
    expected = model(source[rows], torch.cat((target[rows], then), dim=1))[:, 4:]
    torch.testing.assert_close(model.decode(then, cache, None), expected, atol=1e-5, rtol=1e-4)


def test_greedy_search_equals_picking_the_best_token_without_a_cache() -> None:
    model, source, lengths = tiny(), ids(4, 8), torch.tensor([8, 3, 5, 1])
    found = greedy_search(model, source, lengths, start=START, end=END, limit=12)
    for row, length in enumerate(lengths.tolist()):
        text = [START]
        while len(text) <= 12:
            logits = model(source[row : row + 1, :length], torch.tensor([text]))[0, -1]
            text.append(int(logits.argmax()))
            if text[-1] == END:
                break
        assert found[row] == [token for token in text[1:] if token != END]
    assert len({tuple(text) for text in found}) > 1


def marian(seed: int = 0) -> tuple[MarianMTModel, Transformer]:
    """A random Marian of transformers, and the same weights here."""
    config = MarianConfig(
        vocab_size=31,
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=40,
        decoder_ffn_dim=40,
        max_position_embeddings=32,
        activation_function="relu",
        scale_embedding=True,
        pad_token_id=30,
        eos_token_id=END,
        forced_eos_token_id=None,
        decoder_start_token_id=START,
        init_std=0.4,
    )
    torch.manual_seed(seed)
    theirs = MarianMTModel(config).eval()
    ours = Transformer(
        dataclasses.replace(TINY, source_vocab=31, target_vocab=31, shared_embedding=True)
    )
    # Theirs keeps all sines before all cosines; the table may be replaced, it is a weight.
    for side in (theirs.model.encoder, theirs.model.decoder):
        side.embed_positions.weight.data = sinusoids(32, 24)
    theirs.final_logits_bias = torch.randn(1, 31) * 0.3
    state: dict[str, Tensor] = {
        "source.weight": theirs.model.shared.weight,
        "target.weight": theirs.model.shared.weight,
        "head.weight": theirs.model.shared.weight,
        "head.bias": theirs.final_logits_bias[0],
    }
    names = {
        "self_attn_layer_norm": "close_attention.norm",
        "encoder_attn_layer_norm": "close_cross.norm",
        "final_layer_norm": "close_feed_forward.norm",
        "self_attn": "attention",
        "encoder_attn": "cross",
        "fc1": "feed_forward.up",
        "fc2": "feed_forward.down",
    }
    inner = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "out_proj": "out"}
    for name, tensor in theirs.model.state_dict().items():
        part, *rest = name.split(".")
        if rest[0] == "layers":
            kept = [inner.get(word, word) for word in rest[3:]]
            state[".".join([part, rest[1], names[rest[2]], *kept])] = tensor
    ours.load_state_dict(state)
    return theirs, ours.eval().requires_grad_(False)


def test_logits_and_greedy_search_equal_marian() -> None:
    theirs, ours = marian()
    source, target = ids(3, 9, vocab=30), ids(3, 7, vocab=30, seed=2)
    mask = (torch.arange(9) < torch.tensor([9, 4, 2])[:, None]).long()
    lengths = mask.sum(dim=1)
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
    torch.testing.assert_close(ours(source, target, lengths), expected, atol=1e-4, rtol=1e-4)
    found = greedy_search(ours, source, lengths, start=START, end=END, limit=15)
    made = theirs.generate(
        source, attention_mask=mask, max_new_tokens=15, num_beams=1, do_sample=False
    )
    for ours_row, row in zip(found, made.tolist(), strict=True):
        text = row[1:]
        assert ours_row == text[: text.index(END)] if END in text else text


@pytest.mark.parametrize("penalty", [1.0, 0.3, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_beam_search_equals_marian(penalty: float, seed: int) -> None:
    theirs, ours = marian(seed)
    ours.head.bias[END] += 1.5  # so that texts end at different lengths
    theirs.final_logits_bias[0, END] += 1.5
    source = ids(8, vocab=30, seed=seed)
    made = theirs.generate(
        source[None],
        attention_mask=torch.ones(1, 8, dtype=torch.long),
        max_new_tokens=12,
        num_beams=4,
        num_return_sequences=4,
        early_stopping="never",
        length_penalty=penalty,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    found = beam_search(ours, source, start=START, end=END, limit=12, beams=4, penalty=penalty)
    texts = [row[1 : row.index(END) if END in row else None] for row in made.sequences.tolist()]
    expected = [[token for token in text if token != 30] for text in texts]
    assert [one.tokens for one in found] == expected
    torch.testing.assert_close(
        torch.tensor([one.score for one in found]), made.sequences_scores, atol=1e-4, rtol=1e-4
    )


def test_a_beam_wide_enough_finds_the_likeliest_text_of_all() -> None:
    model = tiny(target_vocab=4)
    source, limit = ids(5), 3
    texts = [
        text for length in range(limit + 1) for text in itertools.product([1, 2, 3], repeat=length)
    ]

    def score(text: tuple[int, ...]) -> float:
        whole = [*text, END] if len(text) < limit else list(text)
        logits = model(source[None], torch.tensor([[START, *whole[:-1]]]))[0]
        return float(logits.log_softmax(-1)[range(len(whole)), whole].sum()) / len(whole)

    expected = sorted(texts, key=score, reverse=True)
    found = beam_search(model, source, start=START, end=END, limit=limit, beams=40)
    assert [one.tokens for one in found[:10]] == [list(text) for text in expected[:10]]
    assert found[0].score == pytest.approx(score(expected[0]), abs=1e-5)


def test_one_beam_is_greedy_search() -> None:
    model, source = tiny(), ids(8)
    greedy = greedy_search(model, source[None], start=START, end=END, limit=10)
    one = beam_search(model, source, start=START, end=END, limit=10, beams=1)
    assert [one[0].tokens] == greedy


@pytest.mark.parametrize("positions", POSITIONS)
def test_it_learns_to_turn_a_sequence_round(positions: str) -> None:
    torch.manual_seed(0)
    changes: dict[str, Any] = {"positions": positions, "width": 48, "target_vocab": 23}
    changes |= {"encoder_layers": 1, "decoder_layers": 1, "shared_embedding": True, "dropout": 0.01}
    model = Transformer(dataclasses.replace(TINY, **changes))
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    starts = torch.full((32, 1), START)
    for _ in range(300):
        body = torch.randint(2, 9, (32, 4), generator=generator)
        target = torch.cat((starts, body.flip(1)), dim=1)
        logits = model(torch.cat((starts, body), dim=1), target[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    body = torch.randint(2, 9, (32, 4), generator=generator)
    source = torch.cat((starts, body), dim=1)
    found = greedy_search(model.eval(), source, start=START, end=END, limit=4)
    right = [text == row for text, row in zip(found, body.flip(1).tolist(), strict=True)]
    assert sum(right) >= 28  # one in 2,401 by chance


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, "width 24 does not make 5 heads"),
        ({"heads": 8}, "width 24 does not make 8 heads of even width"),
        ({"heads": 0}, "heads must be at least 1, not 0"),
        ({"encoder_layers": -1}, "encoder_layers must be at least 0, not -1"),
        ({"source_vocab": 0}, "source_vocab must be at least 1, not 0"),
        ({"activation": "silu"}, "activation 'silu'"),
        ({"positions": "alibi"}, "positions 'alibi'"),
        ({"shared_embedding": True}, "vocabularies of 23 and 19"),
    ],
)
def test_sizes_that_make_no_model_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **changes)


def test_sequences_beyond_the_model_are_refused() -> None:
    model = tiny()
    with pytest.raises(ValueError, match="33 tokens are more than the 32"):
        model.encode(ids(1, 33))
    memory, _ = model.encode(ids(1, 5))
    with pytest.raises(ValueError, match="33 tokens are more than the 32"):
        model.new_cache(memory, 33)
    for lengths in ([5, 0], [6, 1]):
        with pytest.raises(ValueError, match="do not fit 5 columns, each at least one token"):
            model.encode(ids(2, 5), torch.tensor(lengths))
    cache = model.new_cache(memory, 3)
    with pytest.raises(ValueError, match="4 tokens do not fit a cache of 3"):
        model.decode(ids(1, 4), cache, None)
    with pytest.raises(ValueError, match="beams and limit must be at least 1, not 0 and 3"):
        beam_search(model, ids(5), start=START, end=END, limit=3, beams=0)


def test_no_model_leans_on_the_transformer_layers_of_torch() -> None:
    forbidden = ("Transformer", "MultiheadAttention", "TransformerEncoder", "TransformerDecoder")
    for path in Path(llm_core.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert not (node.value.id == "nn" and node.attr.startswith(forbidden)), path
