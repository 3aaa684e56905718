"""The reference of `import icebox`, and of the interfaces that plugins implement, from signatures and docstrings."""

import inspect
import re
from types import FunctionType, ModuleType
from typing import Any

import icebox
from docs.builder import docstrings
from icebox.features.abc import backbone, dataset
from icebox.features.nn.backbone import TorchBackbone
from icebox.pipeline.estimators import base
from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.inference.fitted_head import FittedClassifier, FittedRegressor

INTERFACES: dict[ModuleType, tuple[Any, ...]] = {  # module, whose docstring says what a file defines → its classes
    dataset: (dataset.Dataset, dataset.Item, dataset.Pair),
    backbone: (backbone.Backbone, TorchBackbone, backbone.Pretraining),
    base: (PreprocessedHead, base.Head, base.EarlyStoppingHead, base.PathHead, base.FilledIn),
}
TITLES = {dataset: "A dataset", backbone: "A backbone", base: "A head"}


def pages() -> dict[str, str]:
    """Page → its text."""
    library = ["# Python", f"{inspect.getdoc(icebox)} [The notebook](../library.md) shows all of it at work."]
    for name in icebox.__all__:
        if not name.startswith("_"):
            library += described(getattr(icebox, name), f"icebox.{name}")
    library += described(FittedClassifier, "FittedClassifier")
    library += described(FittedRegressor, "FittedRegressor")
    interfaces = ["# Interfaces of plugins", "What a file in `plugins/` of your project defines."]
    for module, classes in INTERFACES.items():
        interfaces += [f"## {TITLES[module]}", docstrings.as_markdown(inspect.getdoc(module) or "")]
        for each in classes:
            interfaces += described(each, each.__name__, depth=3)
    return {"python": "\n\n".join(library) + "\n", "interfaces": "\n\n".join(interfaces) + "\n"}


def described(value: Any, name: str, *, depth: int = 2) -> list[str]:
    """A function, or a class with its own public methods, as Markdown blocks."""
    anchor = name.lower().replace(".", "-")
    blocks = [f"{'#' * depth} `{name}` {{ #{anchor} }}", signature(value, name), docstrings.as_markdown(own_doc(value))]
    if inspect.isclass(value):
        for member, attribute in vars(value).items():
            function = attribute.fget if isinstance(attribute, property) else getattr(attribute, "func", attribute)
            if isinstance(function, FunctionType) and not member.startswith("_") and inspect.getdoc(function):
                is_method = isinstance(attribute, FunctionType)
                blocks += [
                    signature(function, member) if is_method else fenced(f"{member}{returns(function)}"),
                    docstrings.as_markdown(inspect.getdoc(function) or ""),
                ]
    return [block for block in blocks if block]


def own_doc(value: Any) -> str:
    """The docstring of a function or class, "" where a class has none of its own."""
    return inspect.cleandoc(value.__doc__ or "")


def signature(value: Any, name: str) -> str:
    """A call of a function or class, as a code block of lines that are not too long."""
    try:
        parameters = [each for each in inspect.signature(value).parameters.values() if each.name not in ("self", "cls")]
    except (TypeError, ValueError):
        return ""
    if not parameters and inspect.isclass(value):
        return ""
    shown = inspect.Signature(parameters, return_annotation=inspect.Signature.empty)
    result = "" if inspect.isclass(value) else returns(value)
    line = plain(f"{name}{shown}") + result
    if len(line) > 90:
        line = plain(f"{name}(\n{''.join(f'    {each},{chr(10)}' for each in in_lines(parameters))})") + result
    return fenced(line)


def in_lines(parameters: list[inspect.Parameter]) -> list[str]:
    """Parameters as they are declared, with the star before those that are given by name only."""
    lines = [str(each) for each in parameters]
    kinds = [each.kind for each in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        lines.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    return lines


def returns(function: Any) -> str:
    """The annotation of what a function returns, with its arrow."""
    annotation = inspect.signature(function).return_annotation
    if annotation is inspect.Signature.empty:
        return ""
    name = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return plain(f" -> {name}")


def plain(text: str) -> str:
    """Annotations without the modules of their names."""
    short = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])|\b(?:numpy|np)\.", "", text)
    return short.replace("'", '"')


def fenced(text: str) -> str:
    """A block of Python."""
    return f"```python\n{text}\n```"
