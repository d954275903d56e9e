from concurrent.futures import ThreadPoolExecutor

import pytest

from retrievers.analysis import tokenize


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Where was the blue carbuncle hidden?", ["blue", "carbuncl", "hidden"]),
        ("Holmes's geese, the Boys' toys", ["holm", "gees", "boy", "toy"]),
        ("1,888 geese; 3.5 the 1990s", ["1888", "gees", "3.5", "1990s"]),
        ("the U.S. Army", ["us", "armi"]),
        ("getUserName", ["getusernam", "get", "user", "name"]),
        ("snake_case_name", ["snake_case_name", "snake", "case", "name"]),
        ("ﬁne­tuning", ["finetun"]),
        ("東京都", ["東京", "京都"]),
        ("ภาษาไทยคืออะไร", ["ภาษาไทย"]),
        ("the of and", []),
        ("", []),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert tokenize(text) == terms


def test_inflected_forms_meet() -> None:
    assert tokenize("hiding stones") == tokenize("hide a stone")


def test_composed_and_decomposed_letters_meet() -> None:
    assert tokenize("cafe\u0301") == tokenize("caf\u00e9")
    assert tokenize("ท\u0e4d\u0e32งาน") == tokenize("ทำงาน")


def test_threads_do_not_disturb_each_other() -> None:
    texts = [f"running {chr(97 + n)}unning connections of relational w{n}ords" for n in range(20)]
    expected = [tokenize(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tokenize, texts * 20)) == expected * 20
