"""The JSON schema of a pydantic model whose decimals are written as numbers."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema


def schema_of_numbers(model: type[BaseModel]) -> dict[str, Any] | None:
    """The schema of a model in which a Decimal is a number; None where it has no Decimal.

    pydantic offers a string beside, which asks for nothing or has a pattern that looks ahead:
    no grammar keeps a reply from a text that is no number.
    """
    own = model.model_json_schema(schema_generator=_Numbers)
    return dict(own) if own != model.model_json_schema() else None


class _Numbers(GenerateJsonSchema):
    """As pydantic's, with decimals as numbers that keep to their digits."""

    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        """The number among the alternatives, with what pydantic leaves unsaid of its digits."""
        found = super().decimal_schema(schema)
        parts = found.get("anyOf", [found])
        number = next((dict(part) for part in parts if part.get("type") == "number"), None)
        if number is None:
            return found
        places, digits = schema.get("decimal_places"), schema.get("max_digits")
        if places is not None:
            number["multipleOf"] = float(f"1e-{places}") if places else 1
        if digits is not None:
            most = 10 ** (digits - (places or 0))
            if not {"maximum", "exclusiveMaximum"} & number.keys():
                number["exclusiveMaximum"] = most
            if not {"minimum", "exclusiveMinimum"} & number.keys():
                number["exclusiveMinimum"] = -most
        return number
