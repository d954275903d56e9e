from pathlib import Path

import pytest

from retrievers.documents import LoadedDocument
from retrievers.errors import DocumentError
from retrievers.loaders import load_document


def load(tmp_path: Path, html: str | bytes) -> LoadedDocument:
    data = html.encode() if isinstance(html, str) else html
    (tmp_path / "a.html").write_bytes(data)
    return load_document(tmp_path / "a.html", tmp_path)


def text_of(tmp_path: Path, html: str | bytes) -> str:
    return load(tmp_path, html).pages[0].text


def test_readable_text_only(tmp_path: Path) -> None:
    html = """<html><head><title>Tab title</title><style>p {}</style></head><body>
    <nav><a href="/">Home</a></nav><script>var x = "<p>no</p>";</script><!-- no -->
    <h1>The <em>deer</em></h1><p>It   runs
    fast.<br>And far.</p><div hidden>no</div><p style="display: none">no</p>
    <ul><li>one</li><li>two <b>three</b></li></ul><pre>a  b
  c</pre></body></html>"""
    found = load(tmp_path, html)
    assert found.title == "The deer"
    assert found.pages[0].text == (
        "The deer\n\nIt runs fast.\nAnd far.\n\n- one\n- two three\n\na  b\n  c"
    )


def test_tables_become_rows_and_layout_tables_paragraphs(tmp_path: Path) -> None:
    data = "<table><tr><th>Name</th><th>Age</th></tr><tr><td><p>Ann</p></td><td>5</td></tr></table>"
    assert text_of(tmp_path, data) == "Name | Age\nAnn | 5"
    layout = f"<table><tr><td><h2>News</h2><p>Rain.</p></td><td>{data}</td></tr></table>"
    assert text_of(tmp_path, layout) == "News\n\nRain.\n\nName | Age\nAnn | 5"


def test_headings_are_spans_of_the_text(tmp_path: Path) -> None:
    html = "<h1>A</h1><p>x</p><h2> B  <i>b</i> </h2><div><h3>C</h3>y</div><h4></h4>"
    page = load(tmp_path, html).pages[0]
    assert [(h.level, h.text) for h in page.headings] == [(1, "A"), (2, "B b"), (3, "C")]
    assert [page.text[h.start : h.end] for h in page.headings] == ["A", "B b", "C"]


def test_menus_of_links_are_left_out_and_lists_with_links_are_not(tmp_path: Path) -> None:
    menu = "".join(f"<li><a href='/{n}'>Topic {n}</a></li>" for n in range(20))
    items = "".join(f"<li><a href='/{n}'>Deer {n}</a> lives in forest {n}.</li>" for n in range(20))
    text = text_of(tmp_path, f"<ul>{menu}</ul><p>Text.</p><ul>{items}</ul>")
    assert "Topic" not in text
    assert "- Deer 7 lives in forest 7." in text


def test_main_is_preferred_when_it_holds_the_text(tmp_path: Path) -> None:
    html = f"<body><div>Sidebar</div><main><p>{'Deer run. ' * 20}</p></main></body>"
    assert "Sidebar" not in text_of(tmp_path, html)
    assert "Sidebar" in text_of(tmp_path, "<body><div>Sidebar text here</div><main></main></body>")


def test_declared_encoding(tmp_path: Path) -> None:
    html = '<meta charset="koi8-r"><p>Привет</p>'.encode("koi8-r")
    assert text_of(tmp_path, html) == "Привет"


def test_deep_nesting_is_survived(tmp_path: Path) -> None:
    deep = "<div>" * 50_000 + "<p>deep</p>"
    assert load(tmp_path, "<p>Start</p>" + deep).pages[0].text.startswith("Start")


def test_a_page_without_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="empty"):
        load(tmp_path, "<html><script>only()</script></html>")
