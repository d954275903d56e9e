"""Small PDF files written by hand, for tests."""

from collections.abc import Sequence


def make_pdf(pages: Sequence[Sequence[bytes]], title: str = "", image: bool = False) -> bytes:
    """A PDF with one Helvetica line (Windows-1252 bytes) below the other on each page.

    `image` puts a one-pixel picture on every page.
    """
    kids = " ".join(f"{5 + 2 * n} 0 R" for n in range(len(pages)))
    draw = b"q 200 0 0 200 50 50 cm /I Do Q\n" if image else b""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray"
        b" /BitsPerComponent 8 /Length 1 >>\nstream\n\x80\nendstream",
    ]
    for number, lines in enumerate(pages):
        shown = b"".join(b"<" + line.hex().encode() + b"> Tj T*\n" for line in lines)
        content = draw + b"BT /F 11 Tf 14 TL 50 780 Td\n" + shown + b"ET"
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources"
            b" << /Font << /F 3 0 R >> /XObject << /I 4 0 R >> >> >>" % (6 + 2 * number),
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
