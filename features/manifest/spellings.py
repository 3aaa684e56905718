"""One spelling for each label, group and slice of a dataset: 1 in one file and 1.0 in another are one class."""

from collections.abc import Iterable
from typing import Any

from icebox.features import label_sets
from icebox.features.abc.account import Account
from icebox.features.manifest import tables
from icebox.features.manifest.manifest import Manifest
from icebox.features.manifest.validation import Task
from icebox.features.names import merged_spellings


def merge_spellings(items: Manifest, task: Task, account: Account) -> Manifest:
    """The items with one name for each label, group and slice value that is spelled in several ways."""
    changed: dict[str, Any] = {}
    for column, what in ({"label": "labels", "group": "groups"} | slice_columns(items)).items():
        codes, values = items.codes(column)
        if column == "label" and task == "multilabel":
            names = merge(what, label_sets.names_of(items.distinct(column)), account)
            sets = [label_sets.split(value) for value in values] if names else []
            merged = [label_sets.join(names.get(name, name) for name in each) for each in sets] or values
        elif column == "label" and task != "classification":
            continue  # the labels of a regression are numbers, and are compared as such
        else:
            names = merge(what, items.distinct(column), account)
            merged = [names.get(value, value) for value in values]
        if merged != values:
            changed[column] = tables.coded(codes, merged)
    return items.replaced(**changed)


def slice_columns(items: Manifest) -> dict[str, str]:
    """{column: a noun for its values} of the slices."""
    return {f"{tables.SLICE}{name}": f"values of {name}" for name in items.slice_names}


def merge(what: str, values: Iterable[str], account: Account) -> dict[str, str]:
    """{spelling: the name taken} for the values with several spellings, which are noted."""
    merged = merged_spellings(values)
    for name in sorted(set(merged.values()) - {""}):  # a blank is none, as an empty cell is
        spellings = " = ".join(sorted(spelling for spelling in merged if merged[spelling] == name))
        account.note("spellings", f"{what} that are spelled in several ways and taken as one", spellings)
    return merged
