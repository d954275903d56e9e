"""The best passages stand at the ends of a prompt."""

from langchain_core.documents import Document

from retrievers.ordering import LostInTheMiddleOrder, ends_first


def test_the_best_stand_at_the_ends_and_the_least_in_the_middle() -> None:
    assert ends_first([1, 2, 3, 4, 5]) == [1, 3, 5, 4, 2]
    assert ends_first([1, 2, 3, 4]) == [1, 3, 4, 2]
    assert ends_first([1]) == [1] and ends_first([]) == []


def test_the_compressor_keeps_every_document() -> None:
    given = [Document(page_content=str(n)) for n in range(5)]
    found = LostInTheMiddleOrder().compress_documents(given, "query")
    assert [d.page_content for d in found] == ["0", "2", "4", "3", "1"]
