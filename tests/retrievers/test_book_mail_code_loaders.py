"""E-books, mail and source code."""

import io
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest

from retrievers.chunking import chunk
from retrievers.documents import LoadedDocument
from retrievers.errors import DocumentError
from retrievers.loaders import load_document
from retrievers.loaders.code import find_definitions

FIXTURES = Path(__file__).parent / "fixtures"
OPF = """<package xmlns="http://www.idpf.org/2007/opf"><metadata
 xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A Book of Deer</dc:title></metadata>
 <manifest><item id="b" href="two%20b.xhtml" media-type="application/xhtml+xml"/>
 <item id="a" href="../one.xhtml" media-type="application/xhtml+xml"/>
 <item id="c" href="cover.xhtml" media-type="application/xhtml+xml"/>
 <item id="i" href="i.png" media-type="image/png"/></manifest>
 <spine><itemref idref="c"/><itemref idref="a"/><itemref idref="i"/><itemref idref="gone"/>
 <itemref idref="b"/></spine></package>"""
PAGES = {
    "META-INF/container.xml": '<container><rootfiles><rootfile full-path="in/book.opf"/>'
    "</rootfiles></container>",
    "in/book.opf": OPF,
    "one.xhtml": "<h1>One</h1><p>The sambar is large.</p>",
    "in/two b.xhtml": "<h1>Two</h1><p>The muntjac is small.</p>",
    "in/cover.xhtml": "<html><body><img src='i.png'/></body></html>",
}


def load(tmp_path: Path, name: str, data: bytes) -> LoadedDocument:
    (tmp_path / name).write_bytes(data)
    return load_document(tmp_path / name, tmp_path)


def zipped(members: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return stream.getvalue()


def test_chapters_of_a_book_come_in_reading_order(tmp_path: Path) -> None:
    found = load(tmp_path, "a.epub", zipped(PAGES))
    assert (found.title, found.unit) == ("A Book of Deer", "part")
    assert [(page.number, page.text) for page in found.pages] == [
        (1, "One\n\nThe sambar is large."),
        (2, "Two\n\nThe muntjac is small."),
    ]
    assert [passage.metadata["title"] for passage in chunk(found)] == ["One", "Two"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"META-INF/rights.xml": "<r/>"}, "DRM"),
        ({"in/book.opf": "<package"}, "broken .epub"),
        ({"META-INF/container.xml": "<container/>"}, "broken .epub"),
        ({"one.xhtml": "", "in/two b.xhtml": ""}, "empty: no text"),
    ],
)
def test_a_book_that_cannot_be_read_is_named(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    with pytest.raises(DocumentError, match=reason):
        load(tmp_path, "a.epub", zipped({**PAGES, **changes}))


def test_entities_of_a_book_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hidden words")
    bomb = f'<!DOCTYPE p [<!ENTITY x SYSTEM "{secret.as_uri()}">]>' + OPF.replace("A Book", "&x;")
    found = load(tmp_path, "a.epub", zipped({**PAGES, "in/book.opf": bomb}))
    assert "hidden" not in found.title
    page = {"one.xhtml": f'<!DOCTYPE p [<!ENTITY x SYSTEM "{secret.as_uri()}">]><p>Deer &x;.</p>'}
    text = load(tmp_path, "b.epub", zipped({**PAGES, **page})).pages[0].text
    assert "Deer" in text and "hidden" not in text


def mail(subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, "Ann <a@x.org>", "b@x.org"
    message.set_content(text)
    return message


def test_a_mail_shows_its_head_its_text_and_what_is_attached(tmp_path: Path) -> None:
    message = mail("กวาง in winter", "They eat bark.")
    message.add_alternative("<p>They eat <b>bark</b>.</p>", subtype="html")
    message.add_attachment(b"# Food\n\nMoss too.", "text", "markdown", filename="../food.md")
    message.add_attachment(b"\x00\x01", "image", "png", filename="deer.png")
    message.add_attachment(b"%PDF-1.4", "application", "pdf", filename="broken.pdf")
    message.add_attachment(mail("Inner", "Deep words."))
    found = load(tmp_path, "a.eml", message.as_bytes())
    page = found.pages[0]
    assert found.title == "กวาง in winter" and page.number is None
    assert page.text == (
        "กวาง in winter\n\nFrom: Ann <a@x.org>\nTo: b@x.org\n\nThey eat bark.\n\n"
        "Attachment: food.md\n\n# Food\n\nMoss too.\n\nAttachment: deer.png\n\n"
        "Attachment: broken.pdf\n\n(not read: broken PDF: it cannot be opened)\n\n"
        "Attached mail: Inner\n\nInner\n\nFrom: Ann <a@x.org>\nTo: b@x.org\n\nDeep words."
    )
    assert [(h.level, page.text[h.start : h.end]) for h in page.headings] == [
        (1, "กวาง in winter"), (2, "Attachment: food.md"), (3, "# Food"),
        (2, "Attachment: deer.png"), (2, "Attachment: broken.pdf"), (2, "Attached mail: Inner"),
        (3, "Inner"),
    ]  # fmt: skip


def test_a_mail_of_html_alone_is_read_as_html(tmp_path: Path) -> None:
    data = b"Subject: Hello\nContent-Type: text/html\n\n<h1>Deer</h1><script>x</script><p>They run."
    assert load(tmp_path, "a.eml", data).pages[0].text == "Hello\n\nDeer\n\nThey run."


def test_mails_in_mails_end_somewhere(tmp_path: Path) -> None:
    message = mail("0", "word")
    for depth in range(1, 30):
        outer = mail(str(depth), "word")
        outer.add_attachment(message)
        message = outer
    assert load(tmp_path, "a.eml", message.as_bytes()).pages[0].text.count("Subject") == 0
    deep = b"Subject: x\n" + b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(1500)
    )
    with pytest.raises(DocumentError, match=r"nested too deeply|empty|broken mail"):
        load(tmp_path, "b.eml", deep)


def test_what_is_no_mail_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="broken mail"):
        load(tmp_path, "a.eml", b"\n\n\x00\x01")


def test_code_is_kept_as_it_is_with_its_definitions_as_headings(tmp_path: Path) -> None:
    text = (
        "import x\r\n\r\nclass Herd(Base):\r\n    def count(self) -> int:\r\n        return 1\r\n"
    )
    found = load(tmp_path, "my_herd.py", text.encode())
    assert found.title == "my_herd.py" and found.pages[0].text == text.replace("\r\n", "\n")
    assert [(h.level, h.text) for h in found.pages[0].headings] == [
        (1, "class Herd"), (2, "def count"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("export default class Herd<T> {", "class Herd<T>"),
        ("export const load = async (a) => {", "const load"),
        ("func (s *Server) Run(ctx context.Context) error {", "func Run"),
        ("pub(crate) async fn main() -> i32 {", "fn main"),
        ("CREATE TABLE IF NOT EXISTS deer (id int);\n", "CREATE TABLE deer"),
        ("void Herd::count(int x) {\n  y();\n}", "void Herd::count"),
        (r"\section{Deer \emph{of} Thailand}", "Deer of Thailand"),
        ("    return make(", None),
        ("the def of it", None),
        ("print(1)", None),
    ],
)
def test_definitions_of_many_languages_are_found(line: str, name: str | None) -> None:
    assert [heading.text for heading in find_definitions(line)] == ([name] if name else [])


def test_code_that_no_person_wrote_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="written by a machine"):
        load(tmp_path, "a.js", b"var a=1;" * 5000)
