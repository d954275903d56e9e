import pytest

from retrievers.language import detect


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Where was the blue carbuncle hidden?", "en"),
        ("Wo ist die Katze, und warum ist sie nicht im Haus?", "de"),
        ("Le chat est dans la maison avec les enfants.", "fr"),
        ("El perro está en la casa con los niños.", "es"),
        ("Ngôn ngữ của người Việt là một trong những ngôn ngữ được dùng.", "vi"),
        ("Två barn leker på gatan och det är inte kallt för en hund.", "sv"),
        ("Lapset ovat ulkona, mutta koira ei ole siellä.", "fi"),
        ("Pes je na ulici a děti jsou ve škole.", "cs"),
        ("Dzieci są w szkole, ale pies nie jest z nimi i się nie boi.", "pl"),
        ("Bu ev çok eski ve büyük bir bahçe ile güzel.", "tr"),
        ("Câinele este pe stradă și copiii nu sunt la școală.", "ro"),
        ("ภาษาไทยใช้ LaTeX ได้อย่างไร", "th"),
        ("東京は日本の首都です。", "ja"),
        ("北京是中国的首都。", "zh"),
        ("서울은 한국의 수도이다.", "ko"),
        ("Москва — столица России.", "ru"),
        ("القاهرة عاصمة مصر", "ar"),
        ("carbuncle", "en"),
        ("12 — 34 …", "und"),
        ("", "und"),
    ],
)
def test_detects(text: str, code: str) -> None:
    assert detect(text) == code
