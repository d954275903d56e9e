"""Decimals of pydantic models: numbers of so many digits, and never a text that is none."""

import json
from decimal import Decimal

from pydantic import BaseModel, Field

from llm_core.constrain import json_guide
from llm_core.decimals import schema_of_numbers
from llm_core.sampling import Sampling
from llm_core.structured import ReplyParser, json_schema_of


class Bill(BaseModel):
    """A bill."""

    price: Decimal = Field(gt=0, max_digits=6, decimal_places=2, description="what is due")
    parts: list[Decimal] = Field(max_length=2)
    rest: Decimal = Field(max_digits=3, decimal_places=0)


class Plain(BaseModel):
    count: int


def test_a_decimal_is_a_number_with_its_digits():
    schema = json_schema_of(Bill)
    price, rest = schema["properties"]["price"], schema["properties"]["rest"]
    assert price["type"] == "number" and price["description"] == "what is due"
    assert (price["exclusiveMinimum"], price["exclusiveMaximum"]) == (0, 10_000)
    assert price["multipleOf"] == 0.01
    assert schema["properties"]["parts"]["items"] == {"type": "number"}
    assert (rest["exclusiveMinimum"], rest["exclusiveMaximum"], rest["multipleOf"]) == (
        -1000,
        1000,
        1,
    )
    assert schema["title"] == "Bill" and schema["description"] == "A bill."


def test_a_model_without_decimals_keeps_its_schema():
    assert schema_of_numbers(Plain) is None
    assert json_schema_of(Plain)["properties"] == {"count": {"type": "integer"}}


def test_every_reply_is_an_object_of_the_model(tiny):
    schema = json_schema_of(Bill)
    parser = ReplyParser(Bill, schema)
    for seed in range(12):
        reply = tiny.generate_batch(
            [tiny.tokenizer.encode("x")],
            max_tokens=80,
            sampling=[Sampling(temperature=1.5, seed=seed)],
            stop_ids=tiny.tokenizer.end_ids,
            guides=[json_guide(schema, tiny.tokenizer, 80)],
        )[0]
        text = tiny.tokenizer.decode([step.token for step in reply.steps])
        bill = parser.whole(text)
        assert isinstance(bill, Bill) and bill.price == Decimal(str(json.loads(text)["price"]))
