"""Official splits that the names of files tell."""

from collections.abc import Iterable

from icebox.features.errors import IceboxError
from icebox.features.splits import split_within


def splits_of_names(names: Iterable[str], where: object) -> dict[str, str]:
    """{name: split} where a word of every name is a split, `train-00000-of-00002`; {} where none needs to be one.

    Raises IceboxError where some tell val or test and others nothing, whose items would be drawn into any split.
    """
    splits = {name: split_within(name) for name in names}
    silent = [name for name, split in splits.items() if not split]
    if silent and set(splits.values()) - {"", "train"}:
        raise IceboxError(
            f"datasets: {where}: expected a split in the name of every file or of none, found none in "
            f"{', '.join(silent[:5])}; rename or move them"
        )
    return {} if silent else splits
