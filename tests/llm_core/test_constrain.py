import json
import random
import re
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from llm_core.constrain import (
    BudgetError,
    Guide,
    SchemaError,
    choice_guide,
    json_guide,
    regex_guide,
    split_words,
    substring_guide,
)
from llm_core.engine import Engine
from llm_core.grammars import Grammars
from llm_core.sampling import Sampling

TEXT = "Mr. Baker's goose cost 3.50 pounds (in 1889); it held a blue-white gem."


def reply(engine: Engine, guide: Guide, limit: int, prompt: str = "x", **how: Any) -> str:
    """The text of one reply; fails unless it ends complete and within its budget."""
    steps = engine.generate(
        engine.tokenizer.encode(prompt),
        max_tokens=limit,
        sampling=Sampling(**how),
        stop_ids=engine.tokenizer.end_ids,
        guide=guide,
    )
    ids = []
    while True:
        try:
            ids.append(next(steps).token)
        except StopIteration as end:
            assert end.value == "stop"
            assert len(ids) <= limit
            return engine.tokenizer.decode(ids)


def random_schema(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "pattern", "date"]
    kinds += ["object", "array", "union", "tuple"] * (3 if depth == 0 else depth < 3)
    kind = rng.choice(kinds)
    inner = depth + 1
    if kind == "string":
        low = rng.choice([0, 0, 1, 7])
        return {"type": "string", "minLength": low} | rng.choice([{}, {"maxLength": low + 9}])
    if kind in ("integer", "number"):
        low = rng.randint(-500, 500)
        bounds = rng.choice([{}, {"minimum": low}, {"maximum": low}, {"exclusiveMinimum": low}])
        return {"type": kind, **bounds}
    if kind == "enum":
        return {"enum": rng.sample(["red", "a long choice indeed", 3, None, True, "é", 'q"q'], 3)}
    if kind == "const":
        return {"const": rng.choice(["fixed", 12, False])}
    if kind == "pattern":
        pattern = rng.choice([r"^[a-c]{2,30}x$", r"^\d{3}-\d{4}$", r"^(up|down)+$"])
        return {"type": "string", "pattern": pattern}
    if kind == "date":
        return {"type": "string", "format": rng.choice(["date", "time", "uuid", "ipv4"])}
    if kind == "array":
        low = rng.choice([0, 0, 1, 3])
        limit = rng.choice([{}, {"maxItems": low + 2}])
        return {"type": "array", "items": random_schema(rng, inner), "minItems": low, **limit}
    if kind == "tuple":
        parts = [random_schema(rng, inner) for _ in range(2)]
        return {"type": "array", "prefixItems": parts, "items": False, "minItems": 2}
    if kind == "union":
        return {"anyOf": [random_schema(rng, inner), random_schema(rng, inner)]}
    if kind == "object":
        names = rng.sample(["name", "a b", "ünï", "list", "n", "a_rather_long_key"], 3)
        return {
            "type": "object",
            "properties": {name: random_schema(rng, inner) for name in names},
            "required": rng.sample(names, rng.randint(0, 3)),
        }
    return {"type": kind}


@pytest.mark.parametrize("seed", range(120))
def test_no_schema_budget_or_temperature_gives_a_malformed_or_unfinished_reply(tiny, seed):
    rng = random.Random(seed)
    schema = random_schema(rng)
    Draft202012Validator.check_schema(schema)
    for _ in range(3):
        limit = rng.choice([rng.randint(1, 30), rng.randint(20, 120), 300])
        how = {"temperature": rng.choice([0.0, 0.7, 1.5, 5.0]), "seed": seed}
        try:
            guide = json_guide(schema, tiny.tokenizer, limit)
        except BudgetError:
            assert limit < 200
            continue
        text = reply(tiny, guide, limit, prompt=str(seed), **how)
        Draft202012Validator(schema).validate(json.loads(text))


def test_a_tight_budget_still_gives_a_whole_reply(tiny):
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["a", "b"],
    }
    shortest = next(n for n in range(1, 60) if fits(tiny, schema, n))
    for limit in range(shortest, shortest + 12):
        for seed in range(3):
            guide = json_guide(schema, tiny.tokenizer, limit)
            text = reply(tiny, guide, limit, temperature=2.0, seed=seed)
            assert set(json.loads(text)) == {"a", "b"}


def fits(engine: Engine, schema: dict[str, Any], limit: int) -> bool:
    try:
        json_guide(schema, engine.tokenizer, limit)
    except BudgetError:
        return False
    return True


def test_a_recursive_schema_ends(tiny):
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        "required": ["next"],
    }
    schema = {"$defs": {"node": node}, "$ref": "#/$defs/node"}
    for limit in (8, 20, 80):
        guide = json_guide(schema, tiny.tokenizer, limit)
        value = json.loads(reply(tiny, guide, limit, temperature=3.0, seed=limit))
        depth = 0
        while value is not None:
            value, depth = value["next"], depth + 1
        assert 1 <= depth <= limit


def test_separators_are_those_of_json_dumps(tiny):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "integer"}, "minItems": 2}},
        "required": ["a"],
    }
    text = reply(tiny, json_guide(schema, tiny.tokenizer, 80), 80, temperature=1.0, seed=3)
    assert text == json.dumps(json.loads(text))


def test_a_repeating_model_leaves_its_string_and_its_number(tiny):
    schema = {
        "type": "object",
        "properties": {"n": {"type": "number"}, "s": {"type": "string", "maxLength": 4000}},
        "required": ["n", "s"],
    }
    guide = json_guide(schema, tiny.tokenizer, 900)

    def write(text: str) -> None:
        for token in tiny.tokenizer.encode(text):
            assert guide.mask().allows(token), text
            guide.accept(token)

    write('{"n": 1' + "0" * 14)
    assert not guide.mask().allows(tiny.tokenizer.by_piece[b"0"])
    write(', "s": "')
    phrase = tiny.tokenizer.encode("the goose and the gem and " * 9)
    written = 0
    while guide.mask().allows(phrase[written]):
        guide.accept(phrase[written])
        written += 1
    pieces = [tiny.tokenizer.pieces[token] for token in np.flatnonzero(guide.mask().array())]
    assert b'"' in pieces and all(piece.startswith(b'"') for piece in pieces)
    assert tiny.tokenizer.decode(phrase[:written]).count("the goose and the gem") in (2, 3)


def test_a_pattern_of_too_many_states_still_gives_whole_replies(tiny):
    counted = {"type": "string", "pattern": r"^$|(^(?:\S+\s+){0,99}\S+$)"}
    words = {"allOf": [counted, {"maxLength": 5000}]}
    schema = {"type": "object", "properties": {"a": words, "b": words}, "required": ["a", "b"]}
    given_up = 0
    for seed in range(12):
        grammar = tiny.tokenizer.grammars.of_json(schema)
        guides = [grammar.guide(90), grammar.guide(30)]  # one engine state for both
        replies = tiny.generate_batch(
            [tiny.tokenizer.encode("x")] * 2,
            max_tokens=90,
            sampling=[Sampling(temperature=2.0, seed=seed), Sampling()],
            stop_ids=tiny.tokenizer.end_ids,
            guides=guides,
        )
        for each in replies:
            value = json.loads(tiny.tokenizer.decode([step.token for step in each.steps]))
            Draft202012Validator(schema).validate(value)
        given_up += not grammar.sound()
    assert given_up


def test_an_impossible_budget_names_the_mend(tiny):
    with pytest.raises(BudgetError, match=r"max_tokens=3 .* raise max_tokens"):
        json_guide(
            {"type": "object", "properties": {"key": {"type": "null"}}, "required": ["key"]},
            tiny.tokenizer,
            3,
        )


def test_a_broken_schema_is_a_schema_error(tiny):
    with pytest.raises(SchemaError, match="cannot be compiled"):
        json_guide({"type": "nonsense"}, tiny.tokenizer, 50)
    with pytest.raises(SchemaError, match="cannot be compiled"):
        regex_guide("(", tiny.tokenizer, 50)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "integer", "minimum": 1e20}, r"minimum 1e\+20 asks for .* nearer to 0$"),
        ({"type": "number", "maximum": -1e30}, r"maximum -1e\+30 asks for .* nearer to 0$"),
        ({"type": "nonsense"}, r"compiled: Invalid type: nonsense$"),
    ],
)
def test_a_schema_without_a_grammar_is_refused_in_words_of_the_schema(tiny, schema, told):
    with pytest.raises(SchemaError, match=told):
        json_guide(schema, tiny.tokenizer, 50)


def test_a_pattern_without_a_grammar_is_refused_with_the_cause(tiny):
    with pytest.raises(SchemaError, match="look-around"):
        regex_guide("(?=a)b", tiny.tokenizer, 50)


@pytest.mark.parametrize(
    "bounds", [{"minimum": -(2**63), "maximum": 2**63 - 1}, {"maximum": 1e308}], ids=str
)
def test_bounds_of_a_number_format_are_no_hindrance(tiny, bounds):
    for kind in ("integer", "number"):
        schema = {"type": kind, **bounds}
        value = json.loads(reply(tiny, json_guide(schema, tiny.tokenizer, 30), 30))
        Draft202012Validator(schema).validate(value)


def test_a_form_that_is_the_same_as_another_is_not_tried_again(tiny, monkeypatch):
    grammars, tried = Grammars(tiny.tokenizer), []
    find = grammars.finisher.shortest
    monkeypatch.setattr(grammars.finisher, "shortest", lambda *a: tried.append(find(*a)))
    with pytest.raises(SchemaError, match="no reply that satisfies it was found"):
        grammars.of_json({"type": "boolean"})
    assert tried and len(tried) == 1


def test_an_alternative_with_a_pattern_that_looks_ahead_is_not_chosen(tiny):
    price = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^(?!^[-+.]*$)\d*$"}]}
    schema = {"type": "object", "properties": {"price": price}, "required": ["price"]}
    for seed in range(6):
        text = reply(tiny, json_guide(schema, tiny.tokenizer, 40), 40, temperature=3.0, seed=seed)
        assert list(json.loads(text)) == ["price"]
        assert isinstance(json.loads(text)["price"], (int, float))


def test_choices_are_closed(tiny):
    choices = ['say "yes"', "no", "a\nb", "não"]
    for seed in range(20):
        guide = choice_guide(choices, tiny.tokenizer, 20)
        assert reply(tiny, guide, 20, temperature=5.0, seed=seed) in choices


def test_a_choice_that_does_not_fit_is_not_offered(tiny):
    for seed in range(10):
        guide = choice_guide(["a very long choice that cannot fit", "k"], tiny.tokenizer, 2)
        assert reply(tiny, guide, 2, temperature=5.0, seed=seed) == "k"
    with pytest.raises(BudgetError):
        choice_guide(["a very long choice that cannot fit"], tiny.tokenizer, 2)


def test_a_pattern_is_matched_as_a_whole(tiny):
    for seed in range(10):
        guide = regex_guide(r"[A-Z][a-z]{2,8}( \d{2})?", tiny.tokenizer, 12)
        text = reply(tiny, guide, 12, temperature=3.0, seed=seed)
        assert re.fullmatch(r"[A-Z][a-z]{2,8}( \d{2})?", text)


def test_an_extract_is_a_run_of_whole_words(tiny):
    words = split_words(TEXT)
    runs = {"".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)}
    for seed in range(30):
        limit = random.Random(seed).randint(8, 40)
        guide = substring_guide("So: ", TEXT, tiny.tokenizer, limit)
        text = reply(tiny, guide, limit, temperature=4.0, seed=seed)
        assert text.startswith("So: ")
        assert text[4:] in runs and text[4:].strip()


def test_an_empty_text_has_nothing_to_extract(tiny):
    with pytest.raises(SchemaError, match="empty"):
        substring_guide("", "  ", tiny.tokenizer, 10)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mr. Baker's", ["Mr", ".", " ", "Baker's"]),
        ("cost 3.50, at 12:30", ["cost", " ", "3.50", ",", " ", "at", " ", "12:30"]),
        ("blue-white  gem", ["blue-white", "  ", "gem"]),
        ("ที่ดี ok", ["ที่", "ดี", " ", "ok"]),
        ("abcที่", ["abc", "ที่"]),
        ("東京2020", ["東", "京", "2020"]),
    ],
)
def test_words_are_cut_where_an_answer_may_begin_or_end(text, words):
    assert split_words(text) == words
    assert "".join(split_words(text)) == text


def test_a_schema_that_is_nested_too_deeply_is_refused_in_one_line(tiny):
    schema = {"type": "null"}
    for _ in range(2000):
        schema = {"properties": {"a": schema}}
    with pytest.raises(SchemaError, match="too deeply"):
        json_guide(schema, tiny.tokenizer, 60)


def test_an_alternative_may_come_back_to_what_it_is_part_of(tiny):
    ways = [{"$ref": "#/$defs/n"}, {"required": ["b"]}]
    parts = {"v": {"type": "null"}, "next": {"oneOf": ways}}
    node = {"type": "object", "properties": parts, "required": ["v"]}
    schema = {"$defs": {"n": node}, "$ref": "#/$defs/n"}
    text = reply(tiny, json_guide(schema, tiny.tokenizer, 60), 60, temperature=1.0, seed=1)
    assert "v" in json.loads(text)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^pbj:([a-z0-9-]+):([a-z0-9.-]+):([a-z0-9-]+)?:([a-z]+)$"},
        {"type": "string", "pattern": r"^$|(^(?:\S+\s+){0,99}\S+$)", "maxLength": 5000},
        {
            "type": "object",
            "properties": {"a": {"type": "null"}, "b": {"type": "null"}},
            "minProperties": 2,
        },
        {
            "type": "object",
            "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
    ],
)
def test_patterns_and_counts_that_a_search_loses_its_way_in_are_followed(tiny, schema):
    for limit in (60, 120):
        guide = json_guide(schema, tiny.tokenizer, limit)
        text = reply(tiny, guide, limit, temperature=1.0, seed=limit)
        Draft202012Validator(schema).validate(json.loads(text))
