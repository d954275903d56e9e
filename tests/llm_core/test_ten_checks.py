"""Ten things that an agent needs of a local chat model, each on the real default model."""

from collections.abc import Iterator

import pytest

from benchmarks.ten_checks import CHECKS, Subject, local_subject


@pytest.fixture(scope="module")
def subject(chat_model) -> Iterator[Subject]:
    with local_subject(chat_model.model) as subject:
        yield subject


@pytest.mark.model
@pytest.mark.parametrize("check", CHECKS.values(), ids=list(CHECKS))
def test_the_local_chat_model_does_what_agents_need(check, subject):
    check(subject)
