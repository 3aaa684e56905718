"""The key `decide` of `fit` and of inputs: by which aim a head's scores become a class."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

ARGMAX = "argmax"
MAXIMIZED = ("accuracy", "balanced_accuracy", "f1_macro")
EXPECTED = (
    f"expected {ARGMAX}, {', '.join(MAXIMIZED)}, {{recall: {{CLASS: 0.95}}}} or {{costs: {{CLASS: {{PREDICTED: 5}}}}}}"
)


def check_decide(value: Any) -> Any:
    """`argmax`, the name of a score, the recall that classes must have, or the costs of mistakes, names as text."""
    match value:
        case str() if value in (ARGMAX, *MAXIMIZED):
            return value
        case {"recall": dict(recalls)} if len(value) == 1 and recalls and all(map(is_share, recalls.values())):
            return {"recall": {str(name): float(recall) for name, recall in recalls.items()}}
        case {"costs": dict(costs)} if len(value) == 1 and costs and all(map(is_row_of_costs, costs.values())):
            rows = {str(name): {str(other): float(cost) for other, cost in row.items()} for name, row in costs.items()}
            if not any(name in row for name, row in rows.items()):
                return {"costs": rows}
    raise ValueError(EXPECTED)


def is_share(value: object) -> bool:
    """Whether a value is a number above 0 and at most 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def is_row_of_costs(value: object) -> bool:
    """Whether a value is a mapping of classes to costs, numbers of at least 0."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0 for cost in value.values())
    )


def json_schema() -> dict[str, Any]:
    """The JSON schema of the key."""

    def by_class(values: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": values, "minProperties": 1}

    aims = {
        "recall": by_class({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
        "costs": by_class(by_class({"type": "number", "minimum": 0})),
    }
    return {
        "anyOf": [
            {"enum": [ARGMAX, *MAXIMIZED]},
            *(
                {"type": "object", "properties": {aim: values}, "required": [aim], "additionalProperties": False}
                for aim, values in aims.items()
            ),
        ]
    }


Decide = Annotated[str | dict[str, dict[str, Any]], BeforeValidator(check_decide), WithJsonSchema(json_schema())]
