"""Fitting the stages of a search: what is chosen, on which questions, and what the command says."""

import json
from pathlib import Path

import numpy as np
import pytest

from graphs.fit_search import main
from graphs.search_fitting import (
    Case,
    Choice,
    Trials,
    baselines,
    calibration_error,
    choose,
    cross_validated,
    fit_logistic,
)
from tests.fakes import WordEmbeddings


def case(lexical: dict[str, float], dense: dict[str, float], *relevant: str) -> Case:
    def ranked(scores: dict[str, float]) -> list[tuple[str, float]]:
        return sorted(scores.items(), key=lambda hit: -hit[1])

    vectors = {id_: np.eye(4, dtype=np.float32)[at] for at, id_ in enumerate(lexical)}
    return Case("question", ranked(lexical), ranked(dense), vectors, dict.fromkeys(relevant, 1))


def words_know(count: int) -> list[Case]:
    """Questions whose answer BM25 puts first by far and the vectors put last by a little."""
    lexical, dense = {"a": 9.0, "b": 1.0, "c": 0.0}, {"a": 0.40, "b": 0.44, "c": 0.41}
    return [case(lexical, dense, "a") for _ in range(count)]


def vectors_know(count: int) -> list[Case]:
    lexical, dense = {"a": 9.0, "b": 8.5, "c": 0.0}, {"a": 0.1, "b": 0.9, "c": 0.8}
    return [case(lexical, dense, "b") for _ in range(count)]


def test_the_weight_goes_to_the_ranking_that_knows() -> None:
    words = Trials(words_know(4))
    chosen = choose(words, range(4), late=False)["fusion"]
    assert words.scores(chosen).tolist() == [1, 1, 1, 1]
    assert words.scores(Choice(lexical=0.4)).tolist() != [1, 1, 1, 1]
    meaning = Trials(vectors_know(4))
    assert choose(meaning, range(4), late=False)["fusion"].lexical <= 1.0


def test_what_does_not_help_stays_off() -> None:
    chosen = choose(Trials(words_know(3)), range(3), late=False)["smoothing"]
    assert chosen.share == 0.0 and chosen.late == 0.0


def test_late_interaction_is_weighed_where_it_helps_and_asked_once_a_document() -> None:
    asked: list[str] = []

    def judge(_: Case, ids: list[str]) -> list[float]:
        asked.extend(ids)
        return [1.0 if id_ == "c" else 0.0 for id_ in ids]

    tied = {"a": 3.0, "b": 2.0, "c": 1.9}
    trials = Trials([case(tied, tied, "c")], judge)  # type: ignore[arg-type]  # a list is a Sequence
    chosen = choose(trials, [0], late=True)["late_interaction"]
    assert chosen.late > 0 and trials.scores(chosen).tolist() == [1.0]
    assert sorted(asked) == ["a", "b", "c"]


def test_a_question_is_judged_by_a_choice_made_without_it() -> None:
    # Two kinds of question that want opposite weights, one question of the second kind: the fold
    # that leaves it out must choose for the first kind and fail on it.
    cases = [*words_know(9), *vectors_know(1)]
    cases[-1] = case({"a": 9.0, "b": 0.0, "c": 1.0}, {"a": 0.1, "b": 0.3, "c": 0.1}, "b")
    trials = Trials(cases)
    held, chosen = cross_validated(trials, folds=5, seed=1, late=False)
    assert held["fusion"][:9].tolist() == [1.0] * 9
    best = max(trials.scores(Choice(lexical=weight))[9] for weight in (0.4, 0.55, 0.7, 0.85))
    assert held["fusion"][9] < best
    assert set(chosen) == {"fusion", "smoothing"}


def test_the_baselines_are_the_rankings_and_their_rank_fusion() -> None:
    plain = baselines(Trials(words_know(1)))
    assert plain["bm25"].tolist() == [1.0]
    assert plain["dense"].tolist() == [pytest.approx(1 / np.log2(4))]
    assert 0 < plain["rank_fusion"][0] <= 1


def test_the_baselines_see_no_candidate_that_their_own_search_did_not_find() -> None:
    # "c" holds no word of the question: its place among the words is nobody's rank.
    one = case({"a": 2.0, "b": 1.0, "c": 0.0}, {"c": 0.9, "a": 0.5, "b": 0.4}, "c")
    plain = baselines(Trials([one]))
    assert plain["bm25"].tolist() == [0.0] and plain["dense"].tolist() == [1.0]
    assert plain["rank_fusion"].tolist() == [pytest.approx(1 / np.log2(4))]


def test_logistic_regression_finds_the_weights_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20_000, 2)) * [1.0, 5.0]
    chance = 1 / (1 + np.exp(-(rows @ [1.5, -0.2] - 0.7)))
    weights, bias = fit_logistic(rows, (rng.random(20_000) < chance).astype(float), l2=0.0)
    assert weights == pytest.approx([1.5, -0.2], abs=0.07) and bias == pytest.approx(-0.7, abs=0.07)


def test_logistic_regression_stays_finite_where_the_classes_part() -> None:
    weights, bias = fit_logistic(np.asarray([[0.0], [1.0]]), np.asarray([0.0, 1.0]))
    assert np.isfinite(weights).all() and np.isfinite(bias) and weights[0] > 0


def test_the_calibration_error_is_the_distance_of_chance_and_share() -> None:
    assert calibration_error(np.full(10, 0.3), np.asarray([1.0] * 3 + [0.0] * 7), 1) == (
        pytest.approx(0)
    )
    assert calibration_error(np.full(10, 0.9), np.zeros(10), 2) == pytest.approx(0.9)
    assert calibration_error(np.zeros(0), np.zeros(0)) == 0


def write_corpus(folder: Path, questions: int = 12) -> Path:
    docs = [f"the {colour} {thing}" for colour in ("blue", "red", "grey") for thing in "stuvwxyz"]
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(docs)]
    queries = [{"_id": f"q{n}", "text": docs[n]} for n in range(questions)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    lines = [f"q{n}\td{n}\t1" for n in range(questions)]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines))
    return folder


def test_the_command_writes_what_a_search_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = write_corpus(tmp_path / "tiny"), tmp_path / "search.json"
    argv = [str(folder), "--out", str(out), "--quiet", "--folds", "3", "--seed", "7"]
    assert main(argv, embeddings=WordEmbeddings()) == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == written
    assert set(written) == {"choice", "figures", "fitted_on", "relevance"}
    assert written["figures"]["bm25"]["ndcg@10"] == 1.0
    assert written["figures"]["late_interaction"]["ndcg@10"] == 1.0
    assert written["fitted_on"]["questions"] == 12 and written["fitted_on"]["seed"] == 7
    assert 0 <= written["relevance"]["relevant_kept"] <= 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["{folder}", "--out", "{tmp}"], "is no file in a folder that exists"),
        (["{folder}/no", "--out", "{tmp}/x.json"], "there is no folder"),
        (["{folder}", "--out", "{tmp}/x.json", "--folds", "40"], "do not fill --folds 40"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_one_line(
    given: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_corpus(tmp_path / "tiny")
    argv = [word.format(folder=folder, tmp=tmp_path) for word in given]
    assert main([*argv, "--quiet", "--no-late"], embeddings=WordEmbeddings()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
