import pytest

from retrievers.encodings import decode
from retrievers.errors import DocumentError

THAI = "การทดสอบระบบการเข้ารหัสตัวอักษรไทย ทำให้อ่านข้อความได้ถูกต้อง\n"
GERMAN = "Die Größe der Häuser überraschte die Gäste, und schließlich fuhr der Bürgermeister.\n"
FRENCH = "L'été dernier, la forêt était déjà très sèche ; les élèves sont allés à la plage.\n"
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy. Včera večer přišel můj přítel domů pozdě.\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (THAI, "utf-8"),
        (THAI, "tis-620"),
        (THAI + "“quoted”", "cp874"),
        (THAI, "utf-16"),
        ("plain ASCII\n", "utf-16-le"),
        ("plain ASCII\n", "utf-16-be"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "latin-1"),
        (FRENCH, "cp1252"),
        (GERMAN, "utf-32"),
        (CZECH * 5, "cp1250"),
    ],
)
def test_text_survives_its_encoding(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_a_declared_encoding_is_used_when_the_bytes_are_not_utf8() -> None:
    text = "Привет, мир\n"
    assert decode(text.encode("koi8-r"), declared="koi8-r") == text
    assert decode(text.encode(), declared="koi8-r") == text


def test_line_ends_become_line_feeds() -> None:
    assert decode(b"a\r\nb\rc\n") == "a\nb\nc\n"


def test_binary_data_is_refused() -> None:
    with pytest.raises(DocumentError, match="binary data"):
        decode(bytes(range(256)) * 20)


def test_a_broken_mark_is_refused() -> None:
    with pytest.raises(DocumentError, match="utf-16"):
        decode(b"\xff\xfea")
