"""Misspell the questions of a corpus, to see what a search makes of what people type."""

import random
from dataclasses import replace

from graphs.evaluate.beir import Corpus


def misspelt(corpus: Corpus, words: int, seed: int) -> Corpus:
    """The corpus with `words` words of each question misspelt: one random edit in each."""
    if words <= 0:
        return corpus
    rng = random.Random(seed)
    return replace(
        corpus, queries={id_: _with_typos(t, words, rng) for id_, t in corpus.queries.items()}
    )


def _with_typos(text: str, words: int, rng: random.Random) -> str:
    pieces = text.split(" ")
    long = [at for at, piece in enumerate(pieces) if len(piece) > 4 and piece.isalpha()]
    for at in rng.sample(long, min(words, len(long))):
        pieces[at] = _typo(pieces[at], rng)
    return " ".join(pieces)


def _typo(word: str, rng: random.Random) -> str:
    """One letter lost, doubled, exchanged with its neighbour, or another one."""
    at = rng.randrange(1, len(word) - 1)
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    return rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + letter + word[at + 1 :],
        ]
    )
