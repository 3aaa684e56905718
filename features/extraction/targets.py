"""Write the targets of a manifest's items into a store, so that fitting and scoring need no raw data."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from icebox.features.abc.dataset import DenseDataset
from icebox.features.abc.targets import Target
from icebox.features.errors import IceboxError
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.store import targets


def write_targets(store: Path, rows: Sequence[ManifestRow], dataset: DenseDataset) -> None:
    """Write the rows' masks or boxes into the store's folder. Raises IceboxError for one that is not the manifest's."""
    for _ in dataset.items():  # the classes are known then
        pass
    ids = [row.item_id for row in rows]
    targets.write(store, ids, of_rows(rows, dataset), task=dataset.task, classes=dataset.classes)


def of_rows(rows: Sequence[ManifestRow], dataset: DenseDataset) -> Iterator[Target]:
    """The target of each row."""
    for row in rows:
        target = dataset.target(row.source)
        if target.digest != row.label:
            raise IceboxError(
                f"item '{row.item_id}': {dataset.target_file(row.source)} holds another target than when the manifest "
                "was made",
                hint="make the manifest again",
            )
        yield target
