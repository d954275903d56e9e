"""The benchmark of vector search: what it compares, on a small corpus and a fake model."""

import json
from pathlib import Path

import numpy as np
import pytest

import llm_core
from benchmarks import vector_search
from tests.fakes import HashEmbeddings


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixty documents, and a question for each of the first twenty."""
    folder = tmp_path / "corpus"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{n}", "title": "", "text": f"goose {n} stone {n * 7}"} for n in range(60)]
    asked = [{"_id": f"q{n}", "text": f"stone {n * 7}"} for n in range(20)]
    for name, lines in (("corpus", rows), ("queries", asked)):
        text = "\n".join(json.dumps(line) for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    judged = "\n".join(["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in range(20))])
    (folder / "qrels" / "test.tsv").write_text(judged + "\n", encoding="utf-8")
    return folder


def test_every_index_is_asked_the_same_and_the_exact_one_recalls_all(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(llm_core, "LocalEmbeddings", HashEmbeddings)
    said = tmp_path / "said.json"
    given = [str(corpus), "--sizes", "50", "1500", "--queries", "10", "--json", str(said)]
    assert vector_search.main(given) == 0
    report = json.loads(said.read_text())
    assert report["corpus"] == 60 and report["questions"] == 10
    for found in report["sizes"].values():
        assert list(found["indexes"]) == ["flat", "hnsw", "ivf"]
        for figures in found["indexes"].values():
            assert all(0 <= figures[s]["recall"] <= 1 for s in ("none", "0.5", "0.001"))
        assert all(found["indexes"]["flat"][s]["recall"] == 1 for s in ("none", "0.1"))
        assert found["store"]["0.01"]["p50_ms"] > 0
    printed = capsys.readouterr().out
    assert "| 1,500" in printed and "The store in a folder" in printed


def test_grown_vectors_begin_with_the_real_ones_and_stay_near_them() -> None:
    real = np.eye(8, 64, dtype=np.float32)
    rows = vector_search.grown(real, 20, jitter=0.5, seed=1)
    assert np.allclose(rows[:8], real) and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    cosine = (rows[8:16] * real).sum(axis=1)
    assert np.all((cosine > 0.7) & (cosine < 0.98))
    assert np.array_equal(rows, vector_search.grown(real, 20, jitter=0.5, seed=1))


def test_a_missing_corpus_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vector_search.main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: there is no folder")
