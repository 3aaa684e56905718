"""The meaning of each key of params.yaml: sentences of docstrings that name it, or the comment behind its field."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from icebox.pipeline.config import plugin_schema, syntax
from icebox.pipeline.config.section import Section

SHARED: dict[str, dict[str, str]] = {  # section → parameters that mean the same in whichever of its plugins has them
    "heads": {
        "scale": "How features are scaled: each by its own standard deviation, all by the overall one, each item to "
        "length 1 (l2), or none.",
        "pca": "The number of principal components to keep, or below 1 the share of variance; whitened.",
        "seed": "A seed for this head alone, instead of those of `fit`.",
        "task": "Filled in: that of the dataset.",
    },
    "pretrain": {
        "seed": "The seed of weights, order and noise.",
        "steps": "The number of optimizer steps.",
        "epochs": "The number of passes over train.",
        "batch_size": "Items of a step.",
        "learning_rate": "The optimizer's, at its peak where it changes.",
        "weight_decay": "The optimizer's, as a share of the learning rate.",
    },
    "datasets": {
        "label": "The column of the labels, or of the numbers to predict.",
        "drop_labels": "Labels whose rows are left out.",
        "id": "The column of the items' ids; else rows are numbered.",
        "group": "The column of the groups, which share a split.",
        "slices": "Columns by which results are broken down.",
        "encoding": "The table's encoding.",
        "delimiter": "What separates cells: by default a tab in .tsv, else a comma.",
        "quotes": "Whether quotes enclose cells: by default unless a tab separates them.",
        "escape": "The character before a quote that belongs to its cell.",
        "header": "Whether the first row names the columns; else they are numbered from 0.",
        "task": "Whether labels are classes, or numbers to predict.",
    },
}


def docstrings(file: Path, function: str) -> list[str]:
    """The docstrings of a function, of its class and of its module, as far as they are."""
    module = syntax.module(file)
    scopes: list[Any] = [plugin_schema.definition(file, function)]
    class_name = function.rpartition(".")[0]
    scopes += [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    return [ast.get_docstring(scope) or "" for scope in [*scopes, module]]


def sentences_on(name: str, document: str) -> str:
    """The sentences of a docstring that name a parameter, in backticks."""
    return " ".join(sentence for sentence in sentences(document) if re.search(rf"`{name}\b", sentence))


def sentences(document: str) -> list[str]:
    """The sentences of a docstring."""
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", " ".join(document.split()))


def comment_on(name: str, kind: type[Section]) -> str:
    """The comment at the end of a field's line, or on the line above it, in the class that declares it."""
    for owner in kind.__mro__:
        if name in vars(owner).get("__annotations__", {}):
            source = inspect.getsource(owner)
            line = re.search(rf"^    {name}: .*?  # (.*)$", source, re.M)
            line = line or re.search(rf"^    # (.*)\n    {name}: ", source, re.M)
            return line[1] if line else ""
    return ""
