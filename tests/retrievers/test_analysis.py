import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from retrievers.analysis import tokenize
from retrievers.identifiers import code_language


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Where was the blue carbuncle hidden?", ["blue", "carbuncl", "hidden"]),
        ("Holmes's geese, the Boys' toys", ["holm", "gees", "boy", "toy"]),
        ("1,888 geese; 3.5 the 1990s", ["1888", "gees", "3.5", "1990s", "1990"]),
        ("the U.S. Army", ["us", "armi"]),
        ("getUserName", ["getusernam", "get", "user", "name"]),
        ("snake_case_name", ["snake_case_name", "snake", "case", "name"]),
        ("ﬁne­tuning", ["finetun"]),
        ("東京都", ["東京", "京都"]),
        ("犬の種類", ["犬", "の", "種類"]),
        ("ﾃﾞｰﾀ", ["デー", "ータ"]),
        ("서울은", ["서울", "울은"]),
        ("ປະເທດລາວ", ["ປະ", "ະເ", "ເທ", "ທດ", "ດລ", "ລາ", "າວ"]),
        ("หน้า ๑๒ และ ๓๔.๕", ["หน้า", "12", "34.5"]),
        ("C++ and C# or F#, C", ["c++", "c#", "f#", "c"]),
        ("IL6 p53 3d CO₂ utf8", ["il6", "il", "p53", "53", "3d", "co2", "co", "utf8", "utf"]),
        ("naïve Café, Straße", ["naiv", "cafe", "strass"]),
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


def test_words_in_another_language_meet_in_their_stem_and_as_they_stand() -> None:
    page = "Die Häuser der Stadt sind nicht alt, und das Rathaus ist auch nicht neu."
    assert "haus" in tokenize(page) and "hauser" in tokenize(page)
    assert set(tokenize("Wo ist das Haus und wer sind die Leute?")) & set(tokenize(page)) >= {
        "haus"
    }
    assert set(tokenize("Häuser")) <= set(tokenize(page))  # too short to tell its language
    assert set(tokenize("hauser")) <= set(tokenize(page))
    assert tokenize("Häuser", "de") == ["hauser", "haus"]
    assert tokenize("maisons", "fr") == ["maison"]


def test_english_text_is_not_stemmed_as_another_language() -> None:
    english = "Die casting is a process in which molten metal is forced into a mould."
    assert tokenize(english) == tokenize(english, "en")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("книги", "книга"),
        ("άνθρωποι", "άνθρωπος"),
        ("الكتاب", "كتاب"),
        ("किताबें", "किताब"),
        ("книгою", "книгами"),
    ],
)
def test_forms_of_a_word_meet_whatever_the_script(one: str, other: str) -> None:
    assert tokenize(one) == tokenize(other) and len(tokenize(one)) == 1


def test_a_passage_of_code_answers_to_its_language_and_to_whole_words() -> None:
    code = "def delTmpDirs(num_args):\n    return os.listdir(tmp)\n"
    terms = tokenize(code)
    assert terms[0] == "python"
    assert {"deltmpdir", "del", "tmp", "dir", "delet", "temporari", "directori"} <= set(terms)
    assert {"num_args", "num", "number", "argument"} <= set(terms)
    assert "temporari" not in tokenize("a tmp file")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("class Goose(Bird):\n    pass", "python"),
        ("async def lay(\n    self,\n    egg: int = f(2),\n) -> None:", "python"),
        ("export default function App() {", "javascript"),
        ("const lay = (egg) => egg + 1;", "javascript"),
        ("func (g *Goose) Lay(n int) error {", "go"),
        ("    pub fn lay(&self) -> u8 {", "rust"),
        ("  public static void main(String[] args) {", "java"),
        ("#include <stdio.h>", "c"),
        ("CREATE TABLE goose (id int)", "sql"),
        ("The class of geese: a study.\nWe define def as the deficit (see below): none.", None),
        ("Function rooms are let by the hour (ask inside).", None),
        ("", None),
    ],
)
def test_code_is_told_from_prose(text: str, language: str | None) -> None:
    assert code_language(text) == language


def test_hostile_text_takes_little_time() -> None:
    started = time.process_time()
    pieces = ["def a(", "\ndef a(", "_", "a'", "a\u0300", "a.b.", "1,", "class a", "\npublic a"]
    for piece in pieces:
        text = piece * (100_000 // len(piece))
        tokenize(text)
    tokenize("def \npublic " + 19_000 * " ")
    assert time.process_time() - started < 5
