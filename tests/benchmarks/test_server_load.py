import math
from dataclasses import replace

import pytest

from benchmarks.server_load import Load, LoadError, Report, lines, parser, percentile, serving

REPORT = Report(
    model="tiny",
    clients=2,
    requests=10,
    slots=1,
    queue=1,
    answered=10,
    turned_away=3,
    seconds=2.0,
    served_p50=0.1,
    served_p95=0.2,
    total_p50=0.3,
    total_p95=0.4,
    tokens=80,
    memory_first=100e6,
    memory_last=110e6,
    exit_code=0,
    faults=[],
)


def test_a_percentile_is_a_value_that_was_measured():
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.95)) == (50, 95)
    assert percentile([7.0], 0.95) == 7
    assert math.isnan(percentile([], 0.5))


def test_no_question_is_asked_twice_and_a_seed_repeats_them():
    load = Load("tiny", clients=2, requests=50, max_tokens=8, seed=3)
    asked = [question["messages"][0]["content"] for question in load.questions()]
    assert len(set(asked)) == 50
    again = [question["messages"][0]["content"] for question in load.questions()]
    assert asked == again


@pytest.mark.parametrize(
    "change",
    [
        {"answered": 9},
        {"faults": ["OSError: reset"]},
        {"exit_code": 1},
        {"memory_last": 110.1e6},
    ],
)
def test_one_fault_fails_a_run(change):
    assert REPORT.good()
    assert not replace(REPORT, **change).good()


def test_the_report_shows_speed_and_growth():
    text = "\n".join(lines(replace(REPORT, faults=["OSError: reset"])))
    assert "| 5.0 " in text and "110.0 MB, 1.100 times" in text and "- OSError: reset" in text


def test_without_options_a_thousand_clients_ask_ten_thousand_questions():
    args = parser().parse_args([])
    assert (args.clients, args.requests, args.model) == (1000, 10_000, None)


def test_a_server_that_does_not_start_says_why(tmp_path):
    with (
        pytest.raises(LoadError, match="there is no model 'none-such'"),
        serving("--model", "none-such", log=tmp_path / "log"),
    ):
        pytest.fail("it cannot have started")
