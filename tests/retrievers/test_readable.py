"""What an embedding model reads of a question, and how the search treats what it does not."""

import pytest
from langchain_core.documents import Document

from retrievers.config import SearchConfig
from retrievers.dense import embedding_name
from retrievers.pipeline import HybridRetriever
from retrievers.readable import Reading, reading_of, scripts_of
from tests.fakes import HashEmbeddings
from tests.retrievers.test_search_stages import Prefers

LATIN = Reading(scripts=("latin",), dense=0.05, phrases=2)
THAI = "แม่น้ำเจ้าพระยาไหลผ่านจังหวัดใด"
ENGLISH = ["Where does the river flow?", "β-catenin and TNF-α in colon cancer", "3 + 4?", "Où ça?"]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (THAI, 0.0),
        ("Кто написал роман?", 0.0),
        ("東京の人口は", 0.0),
        ("", 1.0),
        ("1914–1918", 1.0),
        ("abcd жзик", 0.625),
    ],
)
def test_letters_of_unknown_scripts_are_not_read(text: str, share: float) -> None:
    assert LATIN.share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ENGLISH)
def test_symbols_and_quoted_names_leave_a_question_wholly_read(text: str) -> None:
    assert LATIN.share(text) == 1.0


def test_a_model_that_was_not_measured_reads_everything() -> None:
    reading = reading_of(HashEmbeddings())
    assert reading == Reading() and reading.share(THAI) == 1.0
    assert (reading.dense_share(1.0), reading.phrase_share(1.0)) == (1.0, 1.0)


def test_a_measured_model_is_known_by_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = HashEmbeddings()
    held = {"reading": {embedding_name(model): {"choice": LATIN.model_dump(mode="json")}}}
    monkeypatch.setattr("retrievers.readable.fitted_search", lambda: held)
    assert reading_of(model) == LATIN


def test_weights_go_from_what_was_fitted_to_the_usual_ones_as_more_is_read() -> None:
    assert [LATIN.dense_share(share) for share in (0, 0.5, 1)] == [0.05, 0.5, 1]
    assert [LATIN.phrase_share(share) for share in (0, 0.5, 1)] == [2, 1.5, 1]


def test_a_script_is_read_where_the_vocabulary_has_words_in_it() -> None:
    latin = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(200)]
    thai = [chr(0x0E01 + n % 40) for n in range(200)]  # letters alone are no words
    assert scripts_of([*latin, *thai, "กข", "[UNK]"]) == ["latin"]
    assert scripts_of([*latin, *(a + b for a in thai[:40] for b in thai[:5])]) == ["latin", "th"]


def documents() -> list[Document]:
    texts = [
        "แม่น้ำเจ้าพระยาไหลผ่านกรุงเทพมหานคร",
        "ช้างเป็นสัตว์ประจำชาติของประเทศไทย",
        "ข้าวเหนียวมะม่วงเป็นของหวาน",
        "The river flows through the town.",
        "The goose held the stone.",
    ]
    return [Document(id=f"p{n}", page_content=text) for n, text in enumerate(texts)]


def test_vectors_hardly_count_for_a_question_that_they_do_not_hold() -> None:
    judge = Prefers(word="goose")
    asked = "สัตว์ประจำชาติไทยคืออะไร"

    def search(reading: Reading | None, question: str) -> list[Document]:
        return HybridRetriever.from_documents(
            documents(), HashEmbeddings(), reading=reading, rerankers=[judge]
        ).invoke(question)

    unread = search(LATIN, asked)
    assert unread[0].id == "p1" and judge.seen == []
    mixed = unread[0].metadata["fused"] / unread[1].metadata["fused"]
    assert mixed > 10  # the words decide
    search(None, asked)
    assert len(judge.seen) == 1


@pytest.mark.parametrize("question", ENGLISH)
def test_a_question_that_is_read_is_searched_as_ever(question: str) -> None:
    plain, aware = (
        HybridRetriever.from_documents(
            documents(), HashEmbeddings(), reading=reading, rerankers=[Prefers(word="river")]
        ).invoke(question)
        for reading in (Reading(), LATIN)
    )
    assert plain == aware
    config = SearchConfig()
    assert config.read_in_part(LATIN.share(question)) is config


def test_the_trace_says_what_is_not_read() -> None:
    search = HybridRetriever.from_documents(documents(), HashEmbeddings(), reading=LATIN)
    notes = [note for stage in search.traced(THAI)[1].stages for note in stage.notes]
    assert f"the embedding model reads 0% of: {THAI}" in notes
    notes = [note for stage in search.traced(ENGLISH[0])[1].stages for note in stage.notes]
    assert not any("reads" in note for note in notes)


def test_everything_by_vectors_after_the_fusion_is_weighed_by_what_is_read() -> None:
    config = SearchConfig()
    half, none = config.read_in_part(0.5), config.read_in_part(0.0)
    assert half.smoothing.share == config.smoothing.share / 2
    assert half.rerank.weight == config.rerank.weight / 2
    assert (none.smoothing.share, none.rerank.weight, none.diversity.strength) == (0, 0, 0)
    assert half.lexical == config.lexical and half.dense == config.dense


@pytest.mark.model
def test_the_packaged_model_is_one_that_was_measured() -> None:
    from llm_core.embeddings import LocalEmbeddings

    assert reading_of(LocalEmbeddings()).share(THAI) == 0.0
