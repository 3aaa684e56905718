"""One spelling for each label, group and slice of a dataset: 1 in one file and 1.0 in another are one class."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from icebox.features import label_sets
from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Item
from icebox.features.manifest.validation import Task
from icebox.features.names import merged_spellings


def merge_spellings(items: Sequence[Item], task: Task, account: Account) -> list[Item]:
    """The items with one name for each label, group and slice value that is spelled in several ways."""
    # the labels of a regression are numbers, and are compared as such
    if task == "multilabel":
        names = merge("labels", label_sets.names_of(item.label for item in items), account)
        sets = {item.label: label_sets.split(item.label) for item in items} if names else {}
        labels = {label: label_sets.join(names.get(name, name) for name in each) for label, each in sets.items()}
    else:
        labels = merge("labels", (item.label for item in items if task == "classification"), account)
    groups = merge("groups", (item.group for item in items), account)
    slices = {
        name: merge(f"values of {name}", (item.slices.get(name, "") for item in items), account)
        for name in dict.fromkeys(name for item in items for name in item.slices)
    }
    if not (labels or groups or any(slices.values())):
        return list(items)
    return [
        replace(
            item,
            label=labels.get(item.label, item.label),
            group=groups.get(item.group, item.group),
            slices={name: slices[name].get(value, value) for name, value in item.slices.items()},
        )
        for item in items
    ]


def merge(what: str, values: Iterable[str], account: Account) -> dict[str, str]:
    """{spelling: the name taken} for the values with several spellings, which are noted."""
    merged = merged_spellings(values)
    for name in sorted(set(merged.values()) - {""}):  # a blank is none, as an empty cell is
        spellings = " = ".join(sorted(spelling for spelling in merged if merged[spelling] == name))
        account.note("spellings", f"{what} that are spelled in several ways and taken as one", spellings)
    return merged
