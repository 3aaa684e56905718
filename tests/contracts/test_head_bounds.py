"""Settings of heads that mean nothing are refused by `check`, and those at the ends of what means something are not."""

import ast

import pytest

from icebox.features import plugins
from icebox.features.errors import IceboxError
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.estimators.base import FilledIn

HEADS = plugins.names("icebox.pipeline.heads")
NUMBERS = [  # names of classes, which may be numbers, are none
    (name, argument.arg)
    for name in HEADS
    for argument in plugin_schema.definition(plugins.file("icebox.pipeline.heads", name), "build").args.kwonlyargs
    if argument.annotation is not None
    and {"int", "float"} & {node.id for node in ast.walk(argument.annotation) if isinstance(node, ast.Name)}
    and argument.arg != "names"
    and argument.arg not in FilledIn.__annotations__.keys() - {"seed"}
]
MAY_BE_ZERO = {  # and mean something then: none of it
    "dropout", "exact_until", "label_smoothing", "layers", "min_child_samples", "mixup", "seed", "shrink_threshold",
    "shrinkage", "var_smoothing", "weight_decay",
}  # fmt: skip


def check(head: str, parameter: str, value: object) -> None:
    file = plugins.file("icebox.pipeline.heads", head)
    plugin_schema.check_values(file, "build", {parameter: value}, where=f"heads.{head}", grid=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1, -1.0, 1e30, 2**70, True, "1"])
@pytest.mark.parametrize(("head", "parameter"), NUMBERS)
def test_a_number_without_meaning_is_refused_alone_and_in_a_grid(head: str, parameter: str, value: object):
    if parameter in ("pca", "max_features") and type(value) is int and value > 0:
        return  # more components than there are features: all of them
    for given in (value, [value]):
        with pytest.raises(IceboxError, match=rf"^heads\.{head}\.{parameter}: expected [^\n]+, found"):
            check(head, parameter, given)


@pytest.mark.parametrize(("head", "parameter"), NUMBERS)
def test_zero_is_refused_where_it_means_nothing(head: str, parameter: str):
    if parameter in MAY_BE_ZERO:
        check(head, parameter, 0)
    else:
        with pytest.raises(IceboxError, match=r"(at least|more than) \d"):
            check(head, parameter, 0)


def test_numbers_of_every_head_are_bounded():
    assert len(NUMBERS) > 60
    check("random_forest", "max_features", 3)
    check("random_forest", "max_features", 0.5)
    check("mlp", "stop_after", None)
    check("knn", "pca", [None, 5, 0.9])
