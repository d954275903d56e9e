import pytest

from retrievers.thai import clauses, is_mojibake, repair_mojibake, words

TEXT = (
    "ระบบเรียงพิมพ์นี้เหมาะสมที่สุดสำหรับเอกสารทางวิทยาศาสตร์ และคณิตศาสตร์ที่มีคุณภาพสูง "
    "รุ่น ๑.๓๒ เมื่อ ๒๑ มกราคม พ.ศ. ๒๕๔๕ ต่างๆ ผู้ใช้ LaTeX ได้แก่ ฯลฯ"
)
# What fonts of the Norasi family make of marks above a vowel or over a tall letter.
NORASI = {"ี่": "ี\x8b", "ี้": "ี\x8c", "ื่": "ื\x8b", "ื้": "ื\x8c", "ั้": "ั\x8c", "ป็": "ป\x9a", "ปั": "ป\x98"}


def broken(text: str) -> str:
    return text.encode("cp874").decode("latin-1")


def test_tis620_shown_as_latin1_becomes_thai() -> None:
    assert is_mojibake(broken(TEXT))
    assert repair_mojibake(broken(TEXT)) == TEXT


def test_marks_with_codes_of_their_own_are_restored() -> None:
    text = "สิ่งที่อยู่ในเอกสารนั้นเป็นข้อความ ปัจจุบันนี้เมื่อพื้นฐานเป็นปัญหา เครื่องมือทั้งหมด"
    font = text
    for thai, codes in NORASI.items():
        font = font.replace(thai, codes)
    shown = "".join(char if char < "\xa0" else broken(char) for char in font)
    assert "\x8b" in shown
    assert "\x98" in shown
    assert repair_mojibake(shown) == text


def test_the_macintosh_layout_shown_as_windows_letters_is_restored() -> None:
    text = "ในส่วนแรกของเนื้อหาในบทนี้จะเป็นการกล่าวถึงแนวคิด ผู้อ่านคงจะได้รู้คร่าวๆ ปัจจุบัน"
    shown = "".join(
        {"่": "ˆ", "้": "‰", "็": "“"}.get(char) or (char if char.isascii() else broken(char))
        for char in text
    ).replace(broken("ปั"), broken("ป") + "’")
    assert repair_mojibake(shown) == text


def test_a_letter_taken_for_a_hyphen_at_a_line_end_is_restored() -> None:
    shown = broken("สารบั") + "\ufffe" + broken("สิ่งที่ควรรู้เบื้องต้น")
    assert repair_mojibake(shown) == "สารบัญ\nสิ่งที่ควรรู้เบื้องต้น"


def test_european_words_in_a_broken_page_stay() -> None:
    quoted = " naïve créée “quoted” 20 °C "
    assert repair_mojibake(broken(TEXT) + quoted + broken(TEXT)) == TEXT + quoted + TEXT


def test_a_short_page_of_a_broken_document_is_repaired_when_certain() -> None:
    assert repair_mojibake("ñ.ò") == "ñ.ò"
    assert repair_mojibake("ñ.ò", certain=True) == "๑.๒"


CLEAN = {
    "thai": TEXT,
    "french": "L'été, les élèves créés à Orléans ont fêté Noël : « où êtes-vous ? » ÉÉÉ çà et là.",
    "german": "Die Größe der Häuser überraschte die Gäste; ÄÖÜß und äöü. Süßes Öl für Åse.",
    "vietnamese": "Tiếng Việt được viết bằng chữ Quốc ngữ, không có cách nào khác: òóôõ, đường, ở.",
    "spanish": "¿Dónde está el niño? ¡Aquí! La cigüeña voló hacia el año pasado, ª º.",
    "portuguese": "A nação não põe corações; ções, ãõ, êxito, à ação dos pães.",
    "icelandic": "Það er ævintýri á Íslandi; þýðing, ðð, öðrum æðið ÁÉÍÓÚÝÞÆÖ.",
    "faroese and swedish": "Åäö ÅÄÖ, Blåbærsyltetøy, øæå, Føroyar.",
    "latin-1 signs": "£5 ± 2 µm × 3 ÷ 4 ¼ ½ ¾ © ® § ¶ «quote» °C ¬ ¦ ¿¡ ¢¥ ²³¹",
    "a row of all Latin-1 letters": "".join(map(chr, range(0xA1, 0x100))),
    "russian mojibake": "Москва столица России и большой город".encode("cp1251").decode("latin-1"),
    "greek mojibake": "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας".encode("cp1253").decode("latin-1"),
    "chinese mojibake": "北京是中华人民共和国的首都和直辖市".encode("gbk").decode("latin-1"),
    "japanese mojibake": "東京は日本の首都であり最大の都市です".encode("euc-jp").decode("latin-1"),
    "utf-8 mojibake": TEXT.encode().decode("latin-1"),
    "empty": "",
}  # fmt: skip


@pytest.mark.parametrize("text", CLEAN.values(), ids=CLEAN.keys())
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert repair_mojibake(text) == text
    assert repair_mojibake(text * 30) == text * 30


def test_words() -> None:
    assert words("สวัสดีครับ ผมชื่อ") == ["สวัสดี", "ครับ", "ผม", "ชื่อ"]


def test_a_clause_without_spaces_is_cut_between_words() -> None:
    text = "ประเทศไทยมีภาษาของตนเอง" * 40
    spans = list(clauses(text, 0, len(text)))
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(end - start <= 280 for start, end in spans)
    assert all(text[start] not in "ะาิีึืุู่้๊๋์็ั" for start, _ in spans)
