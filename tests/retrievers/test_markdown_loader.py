from pathlib import Path

from retrievers.documents import LoadedDocument
from retrievers.loaders import load_document
from retrievers.loaders.markdown import find_headings

TEXT = """---
title: "The stated title"
---
# Guide to `deer` [stalking](http://example.org) #

Intro text.

```python
# not a heading
```

Setup
-----

- item
---

~~~
# not this
```
# nor this
~~~

## *Use* it
"""


def load(tmp_path: Path, text: str) -> LoadedDocument:
    (tmp_path / "a-note.md").write_text(text, encoding="utf-8")
    return load_document(tmp_path / "a-note.md", tmp_path)


def test_text_is_kept_and_the_front_matter_names_the_title(tmp_path: Path) -> None:
    found = load(tmp_path, TEXT)
    assert found.pages[0].text == TEXT
    assert found.title == "The stated title"


def test_headings_outside_code_are_found_with_plain_text() -> None:
    assert [(h.level, h.text) for h in find_headings(TEXT)] == [
        (1, "Guide to deer stalking"), (2, "Setup"), (2, "Use it"),
    ]  # fmt: skip
    spans = [TEXT[h.start : h.end] for h in find_headings(TEXT)]
    assert spans[1:] == ["Setup\n-----", "## *Use* it"]


def test_the_first_top_heading_is_the_title_and_else_the_file_name(tmp_path: Path) -> None:
    assert load(tmp_path, "## Below\n\n# Above\n").title == "Above"
    assert load(tmp_path, "Only text.\n").title == "a note"
    assert load(tmp_path, "# 12\n").title == "a note"
