"""The second hop asks for what the first one named."""

from langchain_core.documents import Document

from retrievers.bm25 import BM25Retriever
from retrievers.query.bridge import BridgeExpander, unsaid
from retrievers.query.plan import Query
from retrievers.ranking import default_tokenizer

FILM = "Jaws is a film about a shark. Steven Spielberg was its director for Universal Pictures."
PASSAGES = [
    Document(id="film", page_content=FILM),
    Document(id="man", page_content="Steven Spielberg was born in Cincinnati."),
    Document(id="sea", page_content="sharks live in the sea"),
]
QUESTION = "In which city was the director of the film Jaws born?"


def expander(**options: object) -> BridgeExpander:
    return BridgeExpander(search=BM25Retriever.from_documents(PASSAGES, k=3), **options)


def test_each_new_name_is_a_query_and_what_is_unsaid_goes_with_them() -> None:
    queries = expander(passages=1, name_weight=0.4, rest_weight=0.9, depth=2).expand(QUESTION)
    assert queries == [
        Query("Steven Spielberg", 0.4, "part", dense=False, depth=2),
        Query("Universal Pictures", 0.4, "part", dense=False, depth=2),
        Query("Steven Spielberg Universal Pictures city born", 0.9, "part", dense=False),
    ]


def test_a_passage_one_rank_lower_counts_a_share() -> None:
    queries = expander(decay=0.5, name_weight=0.4).expand(QUESTION)
    second = [query for query in queries if query.weight == 0.2]
    assert "Cincinnati" in {query.text for query in second}


def test_the_second_hop_finds_what_the_question_does_not_name() -> None:
    lexical = BM25Retriever.from_documents(PASSAGES, k=1)
    assert lexical.invoke("the director of Jaws")[0].id == "film"
    name = expander(passages=1).expand("Who is the director of Jaws?")[0]
    assert lexical.invoke(f"{name.text} born")[0].id == "man"


def test_passages_without_new_names_add_no_name() -> None:
    queries = expander(names=4).expand("sharks of the sea")
    assert "sea" not in {query.text for query in queries}
    assert BridgeExpander(search=BM25Retriever.from_documents([]), names=4).expand("sharks") == []


def test_unsaid_words_keep_their_order_and_lose_their_marks() -> None:
    text = "The film Jaws had one director."
    assert unsaid(QUESTION, text, default_tokenizer()) == ["city", "born"]
