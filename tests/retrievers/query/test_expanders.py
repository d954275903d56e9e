"""Queries made of the corpus: other forms of a name, and the words of the first results."""

import pytest
from langchain_core.documents import Document

from retrievers.analysis import tokenize
from retrievers.bm25 import BM25Retriever
from retrievers.query.acronyms import AcronymExpander, find_pairs, long_form, other_forms
from retrievers.query.feedback import FeedbackExpander, marking_words
from retrievers.query.plan import Query

WHO = "The World Health Organization (WHO) met. HCV (hepatitis C virus) was named (see below)."


def test_pairs_are_read_both_ways_round_and_other_brackets_are_none() -> None:
    assert find_pairs([WHO, "in the year (2003)", "of mice (and men)", "Ann Hall (born 1890)"]) == {
        "WHO": ("world health organization",),
        "HCV": ("hepatitis c virus",),
    }


def test_the_commonest_long_form_comes_first_and_rare_ones_can_be_left_out() -> None:
    texts = ["bone cells (BC)", "breast cancer (BC)", "breast cancer (BC)"]
    assert find_pairs(texts) == {"BC": ("breast cancer", "bone cells")}
    assert find_pairs(texts, least=2) == {"BC": ("breast cancer",)}


@pytest.mark.parametrize(
    ("short", "text", "long"),
    [
        ("NLP", "tools for natural language processing", "natural language processing"),
        ("MSCs", "grown mesenchymal stem cells", "mesenchymal stem cells"),
        ("ER", "stress of the endoplasmic reticulum", "endoplasmic reticulum"),
        ("XYZ", "natural language processing", ""),
        ("NLP", "nothing", ""),
        ("WHO", "who", ""),
    ],
)
def test_a_long_form_holds_the_letters_in_order(short: str, text: str, long: str) -> None:
    assert long_form(short, text) == long


def test_a_question_is_asked_again_with_the_other_form() -> None:
    pairs = find_pairs([WHO])
    assert list(other_forms("Did the WHO meet?", pairs)) == ["world health organization"]
    assert list(other_forms("Did the World Health Organization meet?", pairs)) == ["WHO"]
    assert list(other_forms("the WHO, or World Health Organization", pairs)) == []
    expander = AcronymExpander(pairs=pairs, weight=0.4)
    assert expander.expand("Did the WHO meet?") == [
        Query("Did the WHO meet? world health organization", 0.4, "variant", dense=False)
    ]
    assert expander.expand("Did it meet?") == []


def test_feedback_adds_the_words_that_mark_several_of_the_first_results() -> None:
    texts = ["sharks hunt seals near reefs", "a shark and seals at the reef", "sharks sleep"]
    words = marking_words("sharks", texts, lambda terms: [1.0] * len(terms), tokenize, 2)
    assert words == ["seals", "reefs"]
    assert marking_words("sharks", [], list, tokenize, 2) == []


def test_rare_words_mark_more_than_common_ones() -> None:
    texts = ["seals eat fish", "seals eat fish"]
    rare = {"fish": 3.0}
    words = marking_words("shark", texts, lambda ts: [rare.get(t, 1.0) for t in ts], tokenize, 1)
    assert words == ["fish"]


def test_feedback_is_one_more_query_or_none() -> None:
    texts = ["sharks hunt seals", "sharks follow seals", "geese fly"]
    passages = [Document(id=str(n), page_content=text) for n, text in enumerate(texts)]
    search = BM25Retriever.from_documents(passages, k=2)
    expander = FeedbackExpander(search=search, idf=lambda terms: search.index.idf(terms).tolist())
    assert expander.expand("Where are sharks?") == [
        Query("Where are sharks? seals", 0.5, "feedback", dense=False)
    ]
    nothing = BM25Retriever.from_documents([])
    assert FeedbackExpander(search=nothing, idf=list).expand("sharks") == []
