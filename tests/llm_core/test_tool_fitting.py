import json
import random

import numpy as np
import pytest
from typer.testing import CliRunner

from llm_core.commands.fit_tools import fitted
from llm_core.errors import ModelError
from llm_core.prompt import Turn
from llm_core.tool_choice import Signs, Weights
from llm_core.tool_examples import Example
from llm_core.tool_fitting import Case, area, best_threshold, draw, fit
from llm_core.toolcalls import ToolSpec


def cases(count=200):
    """Turns where closeness and opening tell, and the rest is noise."""
    chance = random.Random(3)
    for number in range(count):
        wanted = number % 2 == 0
        close = chance.gauss(0.6 if wanted else 0.2, 0.15)
        opening = chance.gauss(-3 if wanted else -6, 1.5)
        signs = Signs(close, chance.random(), chance.gauss(0, 5), opening, chance.random())
        yield Case("a", signs, wanted)


def test_the_signs_that_tell_get_the_weight():
    found = fit(list(cases()), embeddings=True)
    assert found.auc > 0.95 and found.kept > 0.85 and found.refused > 0.85
    assert found.weights["closeness"] > 0 and found.weights["opening"] > 0
    effects = {"closeness": 0.25, "context": 0.3, "gain": 5.0, "opening": 2.0, "lacking": 0.3}
    sizes = {name: abs(found.weights[name]) * effects[name] for name in effects}
    assert min(sizes["closeness"], sizes["opening"]) > 2 * max(sizes["context"], sizes["gain"])


def test_the_fit_separates_in_the_units_of_the_signs():
    found = fit(list(cases()), embeddings=False)
    weights = Weights(found.weights, found.bias, found.threshold)
    right = [
        (weights.score(Signs(None, None, *case.signs.vector()[2:])) >= weights.threshold)
        == case.wanted
        for case in cases()
    ]
    assert sum(right) / len(right) > 0.75


def test_area_and_threshold_are_those_of_the_definition():
    scores, wanted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])
    assert area(scores, wanted) == 0.75
    assert area(np.ones(4), wanted) == 0.5
    assert 1 < best_threshold(scores, wanted) < 2 or 3 < best_threshold(scores, wanted) < 4


def example(number, source="a", *, called=True, tools=1):
    offered = [ToolSpec(f"t{number}_{n}", "", {"properties": {}}) for n in range(tools)]
    calls = ((offered[0].name, {}),) if called and tools else ()
    return Example(source, (Turn("user", f"do {number}"),), tuple(offered), calls)


def test_turns_are_drawn_by_kind_and_seed():
    given = [example(n) for n in range(20)] + [example(n, called=False) for n in range(20, 30)]
    given += [example(n, tools=0) for n in range(30, 33)]
    drawn = draw(given, 5, 1)
    assert drawn == draw(given, 5, 1) != draw(given, 5, 2)
    called = [one for one in drawn if one.calls]
    assert len(called) == 5 and len(drawn) == 5 + 5 + 5 + 3
    requests = {one.turns[0].text: one for one in given}
    for one in drawn:
        own = {tool.name for tool in requests[one.turns[0].text].tools}
        strange = not own & {tool.name for tool in one.tools}
        assert one.tools and (not strange or not one.calls)


def test_turns_after_a_tool_spoke_are_not_drawn():
    one = example(1)
    after = Example("a", (*one.turns, Turn("user", "2", from_tool=True)), one.tools, ())
    assert draw([after], 5, 0) == []


def test_the_file_says_what_it_was_made_from():
    report = fitted(list(cases()), "tiny", 7)
    assert report["turns"] == {"a": {"called": 100, "not": 100}}
    assert (report["model"], report["seed"]) == ("tiny", 7)
    assert json.loads(json.dumps(report))["with"]["auc"] > report["without"]["auc"]


def test_turns_of_one_kind_alone_cannot_be_fitted():
    with pytest.raises(ModelError, match="of 100 turns 100 call"):
        fitted([case for case in cases() if case.wanted], "tiny", 0)


@pytest.mark.model
def test_the_command_fits_and_writes_weights(tmp_path, embeddings):
    import typer

    from llm_core.commands.fit_tools import fit_tools

    assert embeddings.dimension == 384
    rows = []
    for number in range(12):
        tool = {
            "name": f"get_{number}",
            "description": f"Get the number {number} of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
        call = {"name": tool["name"], "arguments": {"city": "Oslo"}}
        for text, made in ((f"Get the number {number} of Oslo", call), ("Thank you!", None)):
            said = [{"role": "user", "content": text}]
            rows.append({"tools": [tool], "messages": said, "call": made})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    app = typer.Typer()
    app.command()(fit_tools)
    out = tmp_path / "weights.json"
    result = CliRunner().invoke(app, [str(tmp_path), "--limit", "10", "--out", str(out)])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["with"]["auc"] > 0.7
    assert found["turns"]["rows.jsonl"]["called"] == 10
