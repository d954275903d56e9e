"""One token is allowed or not as the whole mask says, whether or not that was computed."""

import numpy as np
import pytest

from llm_core.masks import Mask


@pytest.mark.parametrize("forbids", ["nothing", "digits", "all but letters", "everything"])
def test_one_token_is_allowed_as_in_the_whole_mask(tiny, forbids):
    size, pieces = tiny.tokenizer.vocabulary, tiny.tokenizer.pieces
    forbidden = {
        "nothing": None,
        "digits": np.array([piece.isdigit() for piece in pieces]),
        "all but letters": np.array([not piece.isalpha() for piece in pieces]),
        "everything": np.ones(size, dtype=bool),
    }[forbids]
    matcher = tiny.tokenizer.grammars.of_regex("[0-9]+").matcher()
    whole = Mask(matcher, size, forbidden).array()
    assert whole.any()  # forbidden tokens come where no others may
    assert [Mask(matcher, size, forbidden).allows(token) for token in range(size)] == list(whole)
