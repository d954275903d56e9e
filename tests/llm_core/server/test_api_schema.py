"""The server's own OpenAPI document, and whatever requests can be made of it."""

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema

PLACES = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("POST", "/v1/models/{model}/load"),
    ("POST", "/v1/models/{model}/unload"),
    ("PUT", "/v1/models/{model}/adapter"),
    ("GET", "/health"),
    ("GET", "/ready"),
)
WITH_BODY = PLACES[:2]


load_all_checks()
# Rules between fields that a JSON schema does not state, such as top_logprobs without logprobs.
BETWEEN_FIELDS = CHECKS.get_one("positive_data_acceptance")


@pytest.fixture(scope="session")
def api(app: FastAPI) -> BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def operations(api: BaseSchema) -> dict[tuple[str, str], APIOperation]:
    found = [result.ok() for result in api.get_all_operations() if isinstance(result, Ok)]
    return {(operation.method.upper(), operation.path): operation for operation in found}


def test_the_document_describes_every_route(api: BaseSchema):
    assert set(operations(api)) == set(PLACES)


def aim_at_a_model(case: Case) -> None:
    """Have a request name a model that exists, and ask for a short reply."""
    if "model" in case.path_parameters:
        case.path_parameters["model"] = "tiny"
    if isinstance(case.body, dict) and "model" in case.body:
        chat = "messages" in case.body
        case.body["model"] = "tiny" if chat else "tiny-bert"
        for name in ("max_tokens", "max_completion_tokens"):
            if isinstance(case.body.get(name), int):
                case.body[name] = min(case.body[name], 8)


@pytest.mark.parametrize(
    ("place", "mode"),
    [(place, GenerationMode.POSITIVE) for place in PLACES]
    + [(place, GenerationMode.NEGATIVE) for place in WITH_BODY],
)
def test_no_request_makes_the_server_fail(
    api: BaseSchema, place: tuple[str, str], mode: GenerationMode
):
    operation = operations(api)[place]

    @seed(4)
    @settings(
        max_examples=20 if place in WITH_BODY else 6,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def check(case: Case, known: bool) -> None:
        if known:
            aim_at_a_model(case)
        case.call_and_validate(excluded_checks=[BETWEEN_FIELDS])

    check()
