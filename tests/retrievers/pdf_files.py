"""Small PDF files written by hand, for tests."""

from collections.abc import Sequence

Placed = tuple[float, float, bytes]  # points from the left and from the bottom, and the words


def make_pdf(pages: Sequence[Sequence[bytes]], title: str = "", image: bool = False) -> bytes:
    """A PDF with one Helvetica line (Windows-1252 bytes) below the other on each page.

    `image` puts a one-pixel picture on every page.
    """
    draw = b"q 200 0 0 200 50 50 cm /I Do Q\n" if image else b""
    contents = []
    for lines in pages:
        shown = b"".join(b"<" + line.hex().encode() + b"> Tj T*\n" for line in lines)
        contents.append(draw + b"BT /F 11 Tf 14 TL 50 780 Td\n" + shown + b"ET")
    return _assemble(contents, title)


def make_placed_pdf(pages: Sequence[Sequence[Placed]], turned: bool = False) -> bytes:
    """A PDF that draws words in 10 point Helvetica where, and in which order, it is told.

    `turned` draws them upwards on a page that is shown turned to the right, so upright again.
    """
    contents = []
    for words in pages:
        shown = b""
        for x, y, text in words:
            place = b"0 1 -1 0 %g %g" % (595 - y, x) if turned else b"1 0 0 1 %g %g" % (x, y)
            shown += b"%s Tm <%s> Tj\n" % (place, text.hex().encode())
        contents.append(b"BT /F 10 Tf\n" + shown + b"ET")
    return _assemble(contents, "", 90 if turned else 0)


def _assemble(contents: Sequence[bytes], title: str, rotate: int = 0) -> bytes:
    kids = " ".join(f"{5 + 2 * n} 0 R" for n in range(len(contents)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray"
        b" /BitsPerComponent 8 /Length 1 >>\nstream\n\x80\nendstream",
    ]
    for number, content in enumerate(contents):
        objects += [
            b"<< /Type /Page /Parent 2 0 R /Rotate %d /MediaBox [0 0 595 842]"
            b" /Contents %d 0 R /Resources << /Font << /F 3 0 R >> /XObject << /I 4 0 R >> >> >>"
            % (rotate, 6 + 2 * number),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        ]
    objects.append(f"<< /Title ({title}) >>".encode())
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return (
        body
        + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
        + b"trailer << /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (size, size - 1)
        + b"startxref\n%d\n%%%%EOF\n" % len(body)
    )
