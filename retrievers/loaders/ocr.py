"""Text of scanned pages by Tesseract, where it is installed; it is never required."""

import shutil
import subprocess
from typing import Final

OFFER: Final = (
    "to read it, install Tesseract (the commands tesseract and its language files; on Debian:"
    " apt install tesseract-ocr)"
)
MAX_SECONDS: Final = 45.0  # for one page
DPI: Final = 200  # of the picture a page is read from
_WANTED: Final = ("eng", "tha", "deu", "fra", "spa", "ara", "jpn", "chi_sim", "kor")
_MAX_LANGUAGES: Final = 3  # each makes it slower


def find_tesseract() -> str | None:
    """The command, or None where it is not installed."""
    return shutil.which("tesseract")


def languages(command: str) -> str:
    """The installed languages to read with, joined as Tesseract wants them; "" for its default."""
    try:
        listed = subprocess.run(
            [command, "--list-langs"], capture_output=True, timeout=MAX_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    have = set(listed.stdout.decode("utf-8", "replace").split())
    return "+".join([name for name in _WANTED if name in have][:_MAX_LANGUAGES])


def read_picture(command: str, png: bytes, spoken: str) -> str:
    """The text of one page's picture; "" where Tesseract fails or takes too long."""
    call = [command, "stdin", "stdout", "--dpi", str(DPI), *(["-l", spoken] if spoken else [])]
    try:
        found = subprocess.run(
            call, input=png, capture_output=True, timeout=MAX_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.decode("utf-8", "replace").replace("\f", "").strip()
