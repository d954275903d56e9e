"""Documents on disk and a view of an index that two builds can be compared by."""

from pathlib import Path

from benchmarks.kill_ingest import content as content

STORIES = {
    "goose.txt": "Ryder fed the blue carbuncle to a goose. The goose was sold at the market. "
    "Holmes found the stone in its crop.",
    "league.txt": "Wilson copied the encyclopaedia for the red headed league. "
    "The bank lay behind the wall of his cellar.",
    "letters/scandal.txt": "The photograph was hidden behind a sliding panel. "
    "Irene left a letter for Holmes.",
}


def write_stories(folder: Path, copies: int = 1) -> Path:
    """The stories, and `copies` - 1 variants of each, under `folder`."""
    for number in range(copies):
        for name, text in STORIES.items():
            file = folder / (name if number == 0 else f"more{number:03}/{name}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + (f" Edition {number}." if number else ""), encoding="utf-8")
    return folder
